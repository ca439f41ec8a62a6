// SPDX-License-Identifier: Apache-2.0
//
// Slow readers of a live host by policy, and what the host tells of them.
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <random>
#include <thread>

#include "core/replay.hpp"
#include "core/top.hpp"
#include "host_support.hpp"

namespace ephor::testing {
namespace {

using host::RunMode;

// What one instance got, and a gate that holds its handler.
struct Notes {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = true;
  bool is_held = false;
  std::vector<std::uint64_t> sequences;
  std::map<std::string, int> newest;  // n by key
  std::uint64_t slices_ahead = 0;     // slices that others could see as read before they were
  const host::Instance* instance = nullptr;
};
Notes& notes(const std::string& instance) {
  static std::map<std::string, Notes> all;
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  return all[instance];
}
void begin_notes(const std::string& instance) {
  Notes& note = notes(instance);
  const std::scoped_lock lock(note.mutex);
  note.is_open = true;
  note.is_held = false;
  note.sequences.clear();
  note.newest.clear();
  note.slices_ahead = 0;
  note.instance = nullptr;
}
void set_gate(const std::string& instance, bool is_open) {
  Notes& note = notes(instance);
  const std::scoped_lock lock(note.mutex);
  note.is_open = is_open;
  note.changed.notify_all();
}
void wait_until_held(const std::string& instance) {
  Notes& note = notes(instance);
  std::unique_lock lock(note.mutex);
  REQUIRE(note.changed.wait_for(lock, std::chrono::nanoseconds(kLongEnough),
                                [&] { return note.is_held; }));
}

// Keeps the newest n of each key, in its state, too. Config: {"policy", "key"}.
class Latest final : public Plugin {
 public:
  static constexpr std::string_view kId = "latest";
  static constexpr std::uint32_t kStateVersion = 1;
  Latest(Host host, std::string_view config) : host_(std::move(host)) {
    const Json given = Json::parse(config);
    host_.subscribe({"test.point"}, given.value("policy", EPHOR_POLICY_LATEST),
                    given.value("key", std::string()));
  }
  void on_events(std::span<const Event> events) override {
    Notes& note = notes(host_.instance());
    std::unique_lock lock(note.mutex);
    note.is_held = !note.is_open;
    note.changed.notify_all();
    note.changed.wait(lock, [&] { return note.is_open; });
    note.is_held = false;
    if (note.instance != nullptr && note.instance->position() > events.front().sequence) {
      ++note.slices_ahead;
    }
    for (const Event& event : events) {
      const Json data = data_of(event);
      note.sequences.push_back(event.sequence);
      newest_[data["key"]] = data["n"];
    }
    note.newest = newest_;
  }
  void save(const Rows&, std::string& state) override { state = Json(newest_).dump(); }
  bool load(std::uint32_t, std::string_view state) override {
    newest_ = Json::parse(state).get<std::map<std::string, int>>();
    return true;
  }

 private:
  Host host_;
  std::map<std::string, int> newest_;
};

std::string key_config(const std::string& key, std::uint32_t policy = EPHOR_POLICY_LATEST) {
  return Json{{"policy", policy}, {"key", key}}.dump();
}

// In closed form: the newest n of each key among [0, count).
std::map<std::string, int> newest_of(int count) {
  std::map<std::string, int> out;
  for (int n = 0; n < count; ++n) out[key_of(n)] = n;
  return out;
}

// Every third line is of a topic that nobody reads.
std::string mixed(int first, int last) {
  std::string lines;
  for (int n = first; n < last; ++n) {
    lines += point(n) + "\n";
    if (n % 2 == 0) lines += point(n + 10'000'000, "s", "test.other") + "\n";
  }
  return lines;
}

Json reader_of(host::Host& host, const std::string& instance) {
  const Json report = Json::parse(host.query("system.bus"));
  for (const Json& reader : report["readers"]) {
    if (reader["instance"] == instance) return reader;
  }
  return {};
}

TEST_CASE(
    "latest: a held reader gets the newest of each key, by ring or journal, and every other "
    "event is counted",
    "[integration][host]") {
  constexpr int kEvents = 20'000;
  // The ring holds all of it, or next to nothing.
  for (const std::size_t bus_bytes : {std::size_t{64} << 20, std::size_t{64} << 10}) {
    const TemporaryDirectory directory;
    begin_notes("latest");
    auto settings =
        settings_for(directory.path(), {instance_of<Latest>("latest", key_config("/key"))});
    settings.bus_bytes = bus_bytes;
    host::Host host(settings, RunMode::live);
    host.start();
    Notes& note = notes("latest");
    note.instance = host.instances()[0].get();
    set_gate("latest", false);
    std::uint64_t last = 0;
    last = ingest(host, mixed(0, 10)).last_sequence;
    wait_until_held("latest");
    for (int n = 10; n < kEvents; n += 100) {
      last = ingest(host, mixed(n, std::min(n + 100, kEvents))).last_sequence;
    }
    CHECK(reader_of(host, "latest")["lag"].get<int>() >= kEvents);
    CHECK_FALSE(host.bus().wait_until_read(host::position_of(last), 1'000'000));
    set_gate("latest", true);
    REQUIRE(host.wait_until_read(kLongEnough));
    const Json reader = reader_of(host, "latest");
    CHECK(host.stop());

    CHECK(note.newest == newest_of(kEvents));
    CHECK(note.slices_ahead == 0);
    CHECK(std::is_sorted(note.sequences.begin(), note.sequences.end()));
    CHECK(std::adjacent_find(note.sequences.begin(), note.sequences.end()) == note.sequences.end());
    CHECK(reader["delivered"] == note.sequences.size());
    CHECK(reader["superseded"].get<int>() > kEvents / 2);
    CHECK(reader["delivered"].get<int>() + reader["superseded"].get<int>() == kEvents);
    CHECK(reader["skipped"] == 0);
    CHECK(reader["lag"] == 0);
  }
}

TEST_CASE("latest: who keeps up gets every event", "[integration][host]") {
  const TemporaryDirectory directory;
  begin_notes("latest");
  host::Host host(
      settings_for(directory.path(), {instance_of<Latest>("latest", key_config("topic"))}),
      RunMode::live);
  host.start();
  for (int n = 0; n < 2'000; n += 50) {
    ingest(host, points(n, n + 50));
    REQUIRE(host.wait_until_read(kLongEnough));
  }
  CHECK(host.stop());
  CHECK(notes("latest").sequences.size() == 2'000);
  CHECK(host.instances()[0]->superseded() == 0);
}

TEST_CASE("latest: state and position agree at every checkpoint", "[integration][host]") {
  constexpr int kEvents = 6'000;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const TemporaryDirectory directory;
    begin_notes("latest");
    std::mt19937 random(seed);
    auto settings =
        settings_for(directory.path(), {instance_of<Latest>("latest", key_config("/key"))});
    settings.bus_bytes = 64U << 10;
    settings.checkpoint_every_ns = 1'000'000;
    auto host = std::make_unique<host::Host>(settings, RunMode::live);
    host->start();
    int restarts = 0;
    for (int n = 0; n < kEvents;) {
      const int last = std::min(kEvents, n + 1 + static_cast<int>(random() % 700));
      ingest(*host, points(n, last));
      n = last;
      if (random() % 3 != 0) continue;
      ++restarts;
      host->abandon();
      host.reset();
      host = std::make_unique<host::Host>(settings, RunMode::live);
      host->start();
    }
    REQUIRE(host->wait_until_read(kLongEnough));
    CHECK(restarts > 2);
    CHECK(host->stop());
    CHECK(notes("latest").newest == newest_of(kEvents));
  }
}

TEST_CASE("replay: drop_oldest and latest get everything, so that replays agree",
          "[integration][replay]") {
  const TemporaryDirectory files, data;
  const auto file = files.path() / "recording.ndjson";
  {
    std::ofstream out(file);
    out << mixed(0, 5'000);
  }
  for (const char* name : {"every", "dropping", "newest"}) begin_notes(name);
  auto settings = settings_for(
      data.path(), {instance_of<Latest>("dropping", key_config("", EPHOR_POLICY_DROP_OLDEST)),
                    instance_of<Latest>("every", key_config("", EPHOR_POLICY_REPLAY)),
                    instance_of<Latest>("newest", key_config("source"))});
  settings.bus_bytes = 64U << 10;
  host::Host host(settings, RunMode::replay);
  host.start();
  host::ReplayOptions options;
  options.file = file;
  CHECK(host::replay(host, options).applied == 7'500);
  CHECK(host.stop());
  CHECK(notes("every").sequences.size() == 5'000);
  CHECK(notes("dropping").sequences == notes("every").sequences);
  CHECK(notes("newest").sequences == notes("every").sequences);
}

TEST_CASE("system.bus: the figures of a held and of a free reader", "[integration][host]") {
  const TemporaryDirectory directory;
  for (const char* name : {"free", "held"}) begin_notes(name);
  auto settings = settings_for(directory.path(),
                               {instance_of<Latest>("free", key_config("", EPHOR_POLICY_REPLAY)),
                                instance_of<Latest>("held", key_config("", EPHOR_POLICY_REPLAY))});
  host::Host host(settings, RunMode::live);
  host.start();
  set_gate("held", false);
  const std::int64_t before_ns = host::monotonic_ns();
  std::uint64_t last = ingest(host, mixed(0, 100)).last_sequence;
  wait_until_held("held");
  last = ingest(host, mixed(100, 1'000)).last_sequence;
  const auto began = std::chrono::steady_clock::now();
  while (host.instances()[0]->position() <= last &&
         std::chrono::steady_clock::now() - began < std::chrono::nanoseconds(kLongEnough)) {
    std::this_thread::yield();
  }
  const Json report = Json::parse(host.query("system.bus"));
  const Json free = report["readers"][0], held = report["readers"][1];
  CHECK(free["instance"] == "free");
  CHECK(free["lag"] == 0);
  CHECK(free["lag_ms"] == 0.0);
  CHECK(free["delivered"] == 1'000);
  CHECK(free["queue_delay_ms"]["count"] == 1'000);
  CHECK(free["position"].get<std::uint64_t>() > last);
  CHECK(held["policy"] == "replay");
  CHECK(held["patterns"] == Json{"test.point"});
  // All but what was read before the first slice of its topic: nothing of ours is handled.
  CHECK(held["lag"].get<int>() >= 1'500);
  CHECK(report["ring"]["events_published"] >= held["lag"]);
  CHECK(held["lag_max"] >= held["lag"]);
  const double waited_ms = static_cast<double>(host::monotonic_ns() - before_ns) / 1e6;
  CHECK(held["lag_ms"].get<double>() <= waited_ms);
  CHECK(held["lag_ms"].get<double>() > 0.0);
  CHECK(held["busy_share"].get<double>() > 0.0);

  const std::string metrics = host.metrics().render();
  CHECK(metrics.find("ephor_reader_delivered_events_total{instance=\"free\"} 1000\n") !=
        std::string::npos);
  CHECK(metrics.find("ephor_reader_queue_delay_seconds_count{instance=\"free\"} 1000\n") !=
        std::string::npos);
  CHECK(metrics.find("ephor_topic_events_total{topic=\"test.other\"} 500\n") != std::string::npos);
  CHECK(metrics.find("# TYPE ephor_reader_handler_seconds summary\n") != std::string::npos);

  const std::string table = host::top_table(Json::parse(host.status_json()));
  CHECK(table.find("\nheld ") != std::string::npos);
  const Json status = Json::parse(host.query("system.status"));
  CHECK(status["instances"][0]["reader"]["delivered"] == 1'000);

  // The second body waited at least from here on.
  const std::int64_t waited_since_ns = host::monotonic_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double held_at_least_ms = static_cast<double>(host::monotonic_ns() - waited_since_ns) / 1e6;
  set_gate("held", true);
  REQUIRE(host.wait_until_read(kLongEnough));
  const Json after = reader_of(host, "held");
  CHECK(after["lag"] == 0);
  CHECK(after["delivered"] == 1'000);
  const double delay_max_ms = after["queue_delay_ms"]["max"];
  CHECK(delay_max_ms <= static_cast<double>(host::monotonic_ns() - before_ns) / 1e6);
  CHECK(delay_max_ms >= held_at_least_ms);
  CHECK(after["handler_ms"]["max"].get<double>() >= held_at_least_ms);
  CHECK(after["handler_ms"]["recent_p99"].get<double>() >= 0.95 * held_at_least_ms);
  CHECK(host.stop());
}

TEST_CASE("subscribe: a key is checked, and belongs to latest", "[integration][host]") {
  const TemporaryDirectory directory;
  const auto refusal = [&](const std::string& config) -> std::string {
    try {
      host::Host host(settings_for(directory.path(), {instance_of<Latest>("latest", config)}),
                      RunMode::live);
    } catch (const std::exception& refused) {
      return refused.what();
    }
    return "";
  };
  CHECK(refusal(key_config("/key")).empty());
  CHECK(refusal(key_config("colour")).find("\"colour\"") != std::string::npos);
  CHECK(refusal(key_config("/key", EPHOR_POLICY_REPLAY)).find("policy 2") != std::string::npos);
  CHECK(refusal(key_config("", 3)).find("found policy 3") != std::string::npos);
}

}  // namespace
}  // namespace ephor::testing
