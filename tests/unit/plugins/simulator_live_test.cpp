// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <set>

#include "archive.hpp"
#include "feeder.hpp"
#include "json_text.hpp"
#include "live_feed.hpp"
#include "simulator_support.hpp"
#include "support/catch.hpp"
#include "support/patience.hpp"
#include "support/shared_data.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

using namespace ephor::simulator;
using namespace ephor::simulator::testing;
using nlohmann::json;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kNow = 1'750'000'000 * kSecond;
constexpr FeedTiming kTiming{3600 * kSecond, 10 * kSecond, kSecond};

Session new_session(std::uint64_t seed = 1) {
  SessionSettings settings;
  settings.epoch = "e1";
  settings.seed = seed;
  return Session(settings);
}
std::string saved(Session session) {
  std::string state;
  Saver saver(state);
  session.visit(saver);
  return state;
}
bool load(Session& session, std::string_view state) {
  return ephor::read_state(state,
                           [&](ephor::StateReader& in) {
                             Loader loader(in);
                             session.visit(loader);
                           }) &&
         session.is_sound();
}
std::string step_text(Session& session, std::int64_t time_ns) {
  std::string text;
  Tally tally;
  render(session.settings(), session.step(time_ns), text, tally);
  return text;
}

// Counts what arrives and lets a test wait for it.
class Arrivals {
 public:
  void add(std::string_view body) {
    const std::lock_guard lock(mutex_);
    for (const std::string_view line : lines_of(body)) lines_.emplace_back(line);
    changed_.notify_all();
  }
  std::vector<std::string> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, ephor::testing::patience(std::chrono::seconds(30)),
                      [&] { return lines_.size() >= count; });
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

class PluginRun {
 public:
  explicit PluginRun(const std::string& config) {
    host.on_ingest([this](const ephor::testing::Ingested& body, ephor_ingest_result& result,
                          std::vector<ephor::testing::Rejection>&) {
      result.accepted = static_cast<std::uint32_t>(lines_of(body.body).size());
      arrivals.add(body.body);
    });
    host.load_plugin(*ephor_plugin_entry_v1(), config, "simulator");
  }

  Arrivals arrivals;  // outlives the plugin's thread
  ephor::testing::FakeHost host;
};

json plain(const YAML::Node& node) {
  if (node.IsMap()) {
    json object = json::object();
    for (const auto& pair : node) object[pair.first.as<std::string>()] = plain(pair.second);
    return object;
  }
  if (node.IsSequence()) {
    json array = json::array();
    for (const auto& item : node) array.push_back(plain(item));
    return array;
  }
  const auto text = node.as<std::string>("");
  if (node.Tag() == "!") return text;  // quoted
  const json value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json(text) : value;
}

}  // namespace

TEST_CASE("session: a saved and loaded session goes on with the same bytes", "[unit][simulator]") {
  Session session = new_session();
  session.faults().push_back(make_fault("stale_output", ""));
  std::int64_t time_ns = kNow;
  for (int at = 0; at < 200; ++at) {
    session.step(time_ns += 60 * kSecond);
    if (at % 23 != 0) continue;
    Session loaded = new_session(99);
    REQUIRE(load(loaded, saved(session)));
    Session original = session;
    for (int i = 1; i <= 30; ++i) {
      const std::int64_t next_ns = time_ns + i * 60 * kSecond;
      REQUIRE(step_text(loaded, next_ns) == step_text(original, next_ns));
    }
  }
}

TEST_CASE("session: broken states are refused or harmless", "[unit][simulator]") {
  Session session = new_session();
  for (int i = 1; i < 50; ++i) session.step(kNow + i * kSecond);
  const std::string state = saved(session);
  std::mt19937_64 random(7);
  for (std::size_t size = 0; size < state.size(); size += 37) {
    Session loaded = new_session();
    REQUIRE_FALSE(load(loaded, state.substr(0, size)));
  }
  for (int round = 0; round < 3000; ++round) {
    std::string broken = state;
    for (int i = 0; i < 1 + round % 4; ++i) {
      broken[random() % broken.size()] = static_cast<char>(random());
    }
    Session loaded = new_session();
    if (load(loaded, broken)) loaded.step(kNow + 1000 * kSecond);
  }
}

TEST_CASE("live feed: fills the past, then keeps up, never from the future", "[unit][simulator]") {
  Session session = new_session();
  // Five seconds short of an hour: 359 steps of 10 s end 5 s ago, 6 of 1 s lead up to now.
  LiveFeed feed(session, {3595 * kSecond, 10 * kSecond, kSecond}, kNow);
  std::string lines;
  std::uint64_t cycles = 0;
  std::int64_t not_before_ns = 0;
  while (feed.next_ns() <= kNow) {
    const FeedBatch batch = feed.take(kNow, 50);
    REQUIRE(batch.cycles > 0);
    REQUIRE(batch.cycles <= 50);
    cycles += batch.cycles;
    lines += batch.lines;
    not_before_ns = batch.not_before_ns;
  }
  REQUIRE(cycles == 359 + 6);
  const std::int64_t begin_ns = kNow - 3595 * kSecond;
  for (const std::int64_t at_ns :
       {begin_ns, begin_ns + 10 * kSecond, kNow - 5 * kSecond, kNow - 4 * kSecond, kNow}) {
    REQUIRE(lines.find(time_text(at_ns)) != std::string::npos);
  }
  REQUIRE(not_before_ns > kNow);
  REQUIRE(not_before_ns < kNow + kSecond);
  REQUIRE(feed.next_ns() == kNow + kSecond);
  REQUIRE_FALSE(feed.is_behind(kNow));
  REQUIRE(feed.take(feed.next_ns() - 1, 1).lines.empty());
  REQUIRE(feed.take(feed.next_ns(), 1).cycles == 1);
}

TEST_CASE("live feed: goes on where it ended, but not further back than the backfill",
          "[unit][simulator]") {
  Session session = new_session();
  session.step(kNow - 5 * kSecond);
  REQUIRE(LiveFeed(session, kTiming, kNow).next_ns() == kNow - 4 * kSecond);
  REQUIRE(LiveFeed(session, kTiming, kNow + 7200 * kSecond).next_ns() == kNow + 3600 * kSecond);
}

TEST_CASE("feeder: what was not kept is sent again, in order and unchanged", "[unit][simulator]") {
  Arrivals arrivals;
  std::atomic<int> tries = 0;
  std::vector<std::string> refused;
  Feeder feeder(
      new_session(), FeedTiming{60 * kSecond, 10 * kSecond, 10 * kSecond}, [] { return kNow; },
      [&](std::string_view lines) {
        Sent sent;
        if (tries++ < 2) {
          refused.emplace_back(lines);
          sent.problem = "full";
          return sent;
        }
        sent.is_kept = true;
        sent.accepted = lines_of(lines).size();
        arrivals.add(lines);
        return sent;
      });
  REQUIRE(feeder.session().steps() == 0);
  feeder.start();
  Session same = new_session();
  std::string expected;
  for (int i = 0; i <= 6; ++i) expected += step_text(same, kNow - (60 - 10 * i) * kSecond);
  const auto lines = arrivals.wait_for(lines_of(expected).size());
  feeder.stop();
  std::string got;
  for (const std::string& line : lines) got += line + "\n";
  REQUIRE(got.substr(0, expected.size()) == expected);
  REQUIRE(refused.size() == 2);
  REQUIRE(refused[0] == refused[1]);
  REQUIRE(expected.starts_with(refused[0]));
  REQUIRE(feeder.counts().retries == 2);
}

TEST_CASE("feeder: what it shows and saves is only what was kept", "[unit][simulator]") {
  Arrivals tried;
  Feeder feeder(
      new_session(), FeedTiming{60 * kSecond, 10 * kSecond, 10 * kSecond}, [] { return kNow; },
      [&](std::string_view lines) {
        tried.add(lines);
        return Sent{};
      });
  feeder.start();
  tried.wait_for(1);
  REQUIRE(feeder.session().steps() == 0);
  const auto begin = std::chrono::steady_clock::now();
  feeder.stop();  // while it waits for its next try
  REQUIRE(std::chrono::steady_clock::now() - begin <
          ephor::testing::patience(std::chrono::seconds(1)));
}

TEST_CASE("plugin: fills the page, tells its state and stops at once", "[unit][simulator]") {
  PluginRun run(R"({"backfill_hours": 0.5, "seed": 5, "cycle_interval_s": 0.1})");
  const auto lines = run.arrivals.wait_for(180 * 25);
  REQUIRE(lines.size() >= 180 * 25);
  std::set<std::pair<std::string, std::string>> ids;
  for (const std::string& line : lines) {
    const json event = json::parse(line);
    REQUIRE(ids.emplace(event["source"], event["id"]).second);
  }
  const json status = json::parse(run.host.request("GET", "/api/simulator"));
  REQUIRE(status["seed"] == 5);
  REQUIRE(status["models"].size() == kModelCount);
  REQUIRE(status["this_run"]["rejected"] == 0);
  REQUIRE(status["problem"].is_null());
  const auto begin = std::chrono::steady_clock::now();
  run.host.stop();
  REQUIRE(std::chrono::steady_clock::now() - begin <
          ephor::testing::patience(std::chrono::seconds(1)));
}

TEST_CASE("plugin: faults are switched on and off", "[unit][simulator]") {
  PluginRun run(R"({"backfill_hours": 0, "cycle_interval_s": 0.1,
                    "faults": [{"kind": "stale_output", "from_h": 5, "to_h": 6}]})");
  run.arrivals.wait_for(90);  // past the first cycle
  const auto active = [](const std::string& text) {
    std::vector<std::string> names;
    const json answer = json::parse(text);
    for (const json& fault : answer["faults"]) {
      if (fault["active"] == true) names.push_back(fault["kind"]);
    }
    return names;
  };
  const std::string path = "/api/simulator/faults";
  REQUIRE(json::parse(run.host.request("GET", path))["faults"].size() == 1);
  REQUIRE(json::parse(run.host.request("GET", path))["kinds"].size() == kFaultKindCount);
  REQUIRE(active(run.host.request("GET", path)).empty());

  const std::string on = R"({"kind": "broken_model", "target": "ridge_trend", "for_s": 3600})";
  REQUIRE(active(run.host.request("POST", path, on)) == std::vector<std::string>{"broken_model"});
  const auto seen = [&] {
    for (std::size_t count = 30;; count += 30) {
      const auto lines = run.arrivals.wait_for(count);
      for (const std::string& line : lines) {
        if (line.find("ephor.deployment") != std::string::npos) return true;
      }
      if (count > 3000) return false;
    }
  };
  REQUIRE(seen());
  const std::string off = R"({"kind": "broken_model", "target": "ridge_trend", "active": false})";
  REQUIRE(active(run.host.request("POST", path, off)).empty());

  for (const char* bad :
       {R"({"kind": "fire"})", R"({"kind": "broken_model", "target": "nobody"})",
        R"({"kind": "broken_model", "for_s": -1})", R"({"kind": "broken_model", "active": 3})",
        R"({"kind": "error_burst", "rate": 2})", R"({"kind": "broken_model", "colour": "red"})",
        R"([])", R"({})"}) {
    CAPTURE(bad);
    try {
      run.host.request("POST", path, bad);
      FAIL("no error");
    } catch (const ephor::Error& error) {
      REQUIRE(error.code() == EPHOR_INVALID);
    }
  }
}

TEST_CASE("plugin: a restart goes on with the session, another seed begins anew",
          "[unit][simulator]") {
  PluginRun run(R"({"backfill_hours": 0.1, "cycle_interval_s": 0.1})");
  run.arrivals.wait_for(36 * 25);
  const json before = json::parse(run.host.request("GET", "/api/simulator"));
  REQUIRE(run.host.restart());
  const json after = json::parse(run.host.request("GET", "/api/simulator"));
  REQUIRE(after["epoch"] == before["epoch"]);
  REQUIRE(after["cycles"] >= before["cycles"]);
  run.host.set_saved_state(1, "nonsense");
  REQUIRE_FALSE(run.host.crash());
  run.host.set_saved_state(2, "");
  REQUIRE_FALSE(run.host.crash());
}

TEST_CASE("plugin: waits while the journal is full and loses nothing", "[unit][simulator]") {
  PluginRun run(R"({"backfill_hours": 0, "cycle_interval_s": 0.1})");
  run.arrivals.wait_for(30);
  run.host.fail_ingest(EPHOR_FULL);
  const auto is_degraded = [&] {
    for (const auto& report : run.host.health_reports()) {
      if (report.state == EPHOR_HEALTH_DEGRADED) return true;
    }
    return false;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!is_degraded() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  REQUIRE(is_degraded());
  run.host.fail_ingest(EPHOR_OK);
  const auto lines = run.arrivals.wait_for(run.arrivals.wait_for(0).size() + 60);
  run.host.stop();
  std::vector<std::uint64_t> steps;
  for (const std::string& line : lines) {
    const json event = json::parse(line);
    if (event["type"] != "ephor.market") continue;
    const std::string id = event["id"];
    const auto from = id.find('-') + 1;
    steps.push_back(std::stoull(id.substr(from, id.find('-', from) - from)));
  }
  for (std::size_t i = 0; i < steps.size(); ++i) REQUIRE(steps[i] == i);
  REQUIRE(run.host.health_reports().back().state == EPHOR_HEALTH_OK);
}

TEST_CASE("plugin: `ephor simulate` writes a file and explains itself", "[unit][simulator]") {
  const ephor::testing::TemporaryDirectory folder;
  const std::string out = (folder.path() / "day.ndjson").string();
  ephor::testing::FakeHost host;
  host.create_plugin(*ephor_plugin_entry_v1());  // a command needs no start
  const std::string said =
      host.run_command("simulate", json({"--hours", "1", "--seed", "2", "--out", out}).dump());
  REQUIRE(said.find("60 cycles") != std::string::npos);
  std::ifstream file(out, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(text == stream_of({"--hours", "1", "--seed", "2"}).text);
  REQUIRE(host.run_command("simulate").find("usage:") == 0);
  REQUIRE_THROWS_AS(host.run_command("simulate", R"(["--out"])"), ephor::Error);
}

TEST_CASE("config: the shipped files and their JSON twins say the same", "[unit][simulator]") {
  const std::filesystem::path folder = std::filesystem::path(EPHOR_SOURCE_DIR) / "config";
  for (const char* name : {"demo", "ephor"}) {
    CAPTURE(name);
    std::ifstream file(folder / (std::string(name) + ".json"));
    const json twin = json::parse(file);
    REQUIRE(plain(YAML::LoadFile((folder / (std::string(name) + ".yaml")).string())) == twin);
    const bool is_demo = std::string(name) == "demo";
    REQUIRE(twin["plugins"].contains("simulator") == is_demo);
  }
}
