// SPDX-License-Identifier: Apache-2.0
//
// A host over data that was shortened by retention, damaged, or met a full disk.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "event/error.hpp"
#include "host_support.hpp"
#include "store/journal_check.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::testing {
namespace {

using host::RunMode;
namespace fs = std::filesystem;

// Sums by key, in its state; one derived event for every third point.
template <std::uint32_t StateVersion>
class Adder final : public Plugin {
 public:
  static constexpr std::string_view kId = "adder";
  static constexpr std::uint32_t kStateVersion = StateVersion;

  Adder(Host host, std::string_view) : host_(std::move(host)) {
    host_.subscribe({"test.point"});
    host_.provide_query(host_.instance() + std::string(".sums"), "",
                        [this](std::string_view) { return state().dump(); });
  }
  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      const Json data = data_of(event);
      auto& sum = sums_[data["key"]];
      sum.first += data["value"].get<std::int64_t>();
      ++sum.second;
      if (data["n"].get<int>() % 3 != 0) continue;
      const std::string text = Json{{"n", data["n"]}}.dump();
      host_.publish({.topic = "derived.third", .data_json = text, .cause = &event});
    }
  }
  void save(const Rows&, std::string& text) override { text = state().dump(); }
  bool load(std::uint32_t version, std::string_view text) override {
    if (version != StateVersion) return false;
    const Json saved = Json::parse(text);
    for (const auto& [key, sum] : saved.items()) sums_[key] = {sum[0], sum[1]};
    return true;
  }

 private:
  Json state() const {
    Json out = Json::object();
    for (const auto& [key, sum] : sums_) out[key] = {sum.first, sum.second};
    return out;
  }
  Host host_;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sums_;
};

// In closed form, over the events of `numbers`.
template <typename Numbers>
Json sums_of(const Numbers& numbers) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sums;
  for (const int n : numbers) {
    sums[key_of(n)].first += value_of(n);
    ++sums[key_of(n)].second;
  }
  Json out = Json::object();
  for (const auto& [key, sum] : sums) out[key] = {sum.first, sum.second};
  return out;
}
std::vector<int> range(int first, int last) {
  std::vector<int> numbers;
  for (int n = first; n < last; ++n) numbers.push_back(n);
  return numbers;
}

template <typename Condition>
bool comes_true(Condition&& condition) {
  const auto began = std::chrono::steady_clock::now();
  while (!condition()) {
    if (std::chrono::steady_clock::now() - began > std::chrono::nanoseconds(kLongEnough)) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A number of points a batch, so that there are many batches.
std::uint64_t ingest_all(host::Host& host, int first, int last, int step = 10) {
  std::uint64_t sequence = 0;
  for (int n = first; n < last; n += step) {
    sequence = ingest(host, points(n, std::min(n + step, last))).last_sequence;
  }
  return sequence;
}

Json journal_health(const host::Host& host) { return Json::parse(host.health_json())["journal"]; }

std::uint64_t kept_bytes(const fs::path& data_dir) {
  return host::SqliteJournal(data_dir, {.read_only = true}).stats().stored_bytes;
}
std::uint64_t oldest_position(const fs::path& data_dir) {
  return host::SqliteJournal(data_dir, {.read_only = true}).oldest_position();
}

std::set<int> as_set(const std::vector<int>& numbers) { return {numbers.begin(), numbers.end()}; }

// The points that are still in the journal, by number.
std::set<int> kept_points(const fs::path& data_dir) {
  std::set<int> numbers;
  for (const auto& [text, times] : count_by(journal_of(data_dir), "test.point", "n")) {
    numbers.insert(std::stoi(text));
  }
  return numbers;
}

// The events of one type in the batches that can be read.
std::vector<Json> readable_of(const fs::path& data_dir, const std::string& type) {
  const host::SqliteJournal journal(data_dir, {.read_only = true});
  std::vector<Json> events;
  host::StoredBatch batch;
  std::uint64_t from = 1;
  while (host::next_readable(journal, from, batch, [](const host::DamageError&) {})) {
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      Json event = Json::parse(batch.record(i));
      if (event["type"] == type) events.push_back(std::move(event));
    }
    from = batch.position + 1;
  }
  return events;
}

void run_sql(const fs::path& file, const std::string& sql) {
  const auto session = host::sqlite::open(file, host::sqlite::OpenMode::existing);
  host::sqlite::execute(*session, sql);
}

bool has_file(const fs::path& directory, const std::string& beginning) {
  return std::any_of(
      fs::directory_iterator(directory), fs::directory_iterator(),
      [&](const auto& entry) { return entry.path().filename().string().starts_with(beginning); });
}

}  // namespace

TEST_CASE("retention: bounded by bytes, and what comes again is still a duplicate",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  settings.checkpoint_every_ns = kSecond / 20;
  settings.retention.max_bytes = 20'000;
  constexpr int kEvents = 3'000;
  {
    host::Host host(settings, RunMode::live);
    host.start();
    const std::uint64_t last = ingest_all(host, 0, kEvents);
    CHECK(Json::parse(host.query("adder.sums", "{}", last)) == sums_of(range(0, kEvents)));
    CHECK(comes_true([&] { return kept_bytes(directory.path()) <= 20'000; }));
    CHECK(journal_health(host)["gaps"].size() == 1);
    CHECK(journal_health(host)["health"] == "ok");
    CHECK(host.stop());
  }
  const std::set<int> kept = kept_points(directory.path());
  // The newest stay. That may be the reader's own events alone, when it is far behind the points.
  CHECK(kept.size() < kEvents / 2);
  if (!kept.empty()) CHECK(kept == as_set(range(*kept.begin(), kEvents)));
  const std::vector<Json> thirds = readable_of(directory.path(), "derived.third");
  REQUIRE((!kept.empty() || !thirds.empty()));
  if (kept.empty()) CHECK(thirds.back()["data"]["n"] == (kEvents - 1) / 3 * 3);

  host::Host host(settings, RunMode::live);
  host.start();
  const host::IngestCounts again = ingest(host, points(0, kEvents + 100));
  CHECK(again.accepted == 100);
  CHECK(again.duplicate == kEvents);
  CHECK(Json::parse(host.query("adder.sums", "{}", again.last_sequence)) ==
        sums_of(range(0, kEvents + 100)));
  CHECK(host.health_json().find("partial") == std::string::npos);
  CHECK(host.stop());
  CHECK(host::check_journal(directory.path(), [](const auto&) {
          return std::vector<std::uint64_t>{};
        }).faults.empty());
}

TEST_CASE("retention: what a plugin has not saved stays, unless told otherwise",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  settings.retention.max_bytes = 1;  // everything is due at once
  const auto run = [&](int first, int last, const std::function<void(host::Host&)>& look) {
    host::Host host(settings, RunMode::live);
    host.start();
    ingest_all(host, first, last);
    CHECK(host.wait_until_read(kLongEnough));
    look(host);
    CHECK(host.stop());  // saves
  };
  const auto is_held = [&](host::Host& host) {
    CHECK(comes_true([&] { return journal_health(host)["retention_waits_for"] == "adder"; }));
  };
  run(0, 300, [&](host::Host& host) {
    is_held(host);
    CHECK(oldest_position(directory.path()) == 1);
  });
  const auto saved = [&] {
    host::StorageOptions options;
    options.directory = directory.path();
    options.read_only = true;
    return host::position_of(host::Storage(options).instances().at(0).sequence);
  }();
  run(300, 600, [&](host::Host& host) {
    is_held(host);
    CHECK(oldest_position(directory.path()) == saved);
  });
  settings.retention.keep_unread = false;
  run(600, 900, [&](host::Host&) {
    CHECK(comes_true([&] { return oldest_position(directory.path()) > saved; }));
  });
}

TEST_CASE("retention: a rebuild from a shortened journal says that it is partial",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  settings.checkpoint_every_ns = kSecond / 20;
  settings.retention.max_bytes = 10'000;
  {
    host::Host host(settings, RunMode::live);
    host.start();
    ingest_all(host, 0, 2'000);
    CHECK(comes_true([&] { return kept_bytes(directory.path()) <= 10'000; }));
    CHECK(host.stop());
  }
  const std::set<int> kept = kept_points(directory.path());
  REQUIRE(kept.size() < 2'000);
  settings.instances = {instance_of<Adder<2>>("adder")};  // its state cannot be read
  settings.retention = {};
  host::Host host(settings, RunMode::live);
  host.start();
  CHECK(host.wait_until_read(kLongEnough));
  CHECK(Json::parse(host.query("adder.sums")) == sums_of(kept));
  const Json health = Json::parse(host.health_json())["instances"][0];
  CHECK(health["health"] == "degraded");
  CHECK(health["reason"].get<std::string>().find("partial") != std::string::npos);
  CHECK(health["reason"].get<std::string>().find("retention") != std::string::npos);
  CHECK(host.metrics().render().find("ephor_journal_gap_batches_total{instance=\"adder\"}") !=
        std::string::npos);
  CHECK(host.stop());
}

TEST_CASE("damage: a batch that cannot be read is one gap, however many readers meet it",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  {
    host::Host host(settings_for(directory.path(), {}), RunMode::live);
    host.start();
    ingest_all(host, 0, 100);
    CHECK(host.stop());
  }
  run_sql(directory.path() / "journal.db",
          "UPDATE batches SET body = zeroblob(200) WHERE position = 4");
  std::set<int> expected;
  for (const Json& event : readable_of(directory.path(), "test.point")) {
    expected.insert(event["data"]["n"].get<int>());
  }
  REQUIRE(expected.size() == 90);
  auto settings = settings_for(directory.path(),
                               {instance_of<Adder<1>>("first"), instance_of<Adder<1>>("second")});
  {
    host::Host host(settings, RunMode::live);
    host.start();
    CHECK(host.wait_until_read(kLongEnough));
    for (const char* name : {"first.sums", "second.sums"}) {
      CHECK(Json::parse(host.query(name)) == sums_of(expected));
    }
    const Json health = journal_health(host);
    REQUIRE(health["gaps"].size() == 1);
    CHECK(health["gaps"][0]["first_sequence"] == host::sequence_of(4, 0));
    CHECK(health["gaps"][0]["events"].get<int>() >= 10);
    CHECK(health["health"] == "degraded");
    CHECK(health["missed"].size() == 2);
    CHECK(comes_true([&] { return readable_of(directory.path(), "ephor.gap").size() == 1; }));
    CHECK(host.stop());
  }
  // After a restart it is known still, and nobody meets it again.
  host::Host host(settings, RunMode::live);
  host.start();
  CHECK(journal_health(host)["gaps"].size() == 1);
  CHECK(journal_health(host)["missed"].empty());
  CHECK(host.stop());
}

TEST_CASE("damage: a storage that cannot be used is set aside and derived again",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  const auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  {
    host::Host host(settings, RunMode::live);
    host.start();
    ingest_all(host, 0, 500);
    CHECK(host.stop());
  }
  const fs::path file = directory.path() / "ephor.db";
  const bool is_header = GENERATE(true, false);
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(is_header ? 0 : 4096);
    bytes << std::string(is_header ? 100 : 3 * 4096, '\xA5');
  }
  host::Host host(settings, RunMode::live);
  host.start();
  const std::uint64_t last = ingest(host, points(400, 600)).last_sequence;
  CHECK(Json::parse(host.query("adder.sums", "{}", last)) == sums_of(range(0, 600)));
  CHECK(has_file(directory.path(), "ephor.db.damaged-"));
  CHECK(host.stop());
  CHECK(all_once(count_by(journal_of(directory.path()), "derived.third", "n")));
}

TEST_CASE("damage: a journal that ends before what was saved gives no sequence twice",
          "[integration][upkeep]") {
  const TemporaryDirectory directory;
  const auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  {
    host::Host host(settings, RunMode::live);
    host.start();
    ingest_all(host, 0, 500);
    CHECK(host.stop());
  }
  // As if the journal's file had been lost and made anew.
  fs::remove(directory.path() / "journal.db");
  host::Host host(settings, RunMode::live);
  host.start();
  CHECK(journal_health(host)["gaps"].size() == 1);
  const host::IngestCounts more = ingest(host, points(500, 600));
  CHECK(more.accepted == 100);
  CHECK(Json::parse(host.query("adder.sums", "{}", more.last_sequence)) == sums_of(range(0, 600)));
  CHECK(host.stop());
}

TEST_CASE(
    "disk full: refused with a reason, nothing acknowledged is lost, and it goes on by itself",
    "[integration][upkeep]") {
  const TemporaryDirectory directory;
  auto settings = settings_for(directory.path(), {instance_of<Adder<1>>("adder")});
  settings.checkpoint_every_ns = kSecond / 20;
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit saved{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &saved) == 0);
  std::set<int> acknowledged;
  {
    host::Host host(settings, RunMode::live);
    host.start();
    rlimit tight = saved;
    tight.rlim_cur = 400'000;
    setrlimit(RLIMIT_FSIZE, &tight);
    std::optional<host::HostError> refusal;
    int n = 0;
    for (; n < 50'000 && !refusal; n += 100) {
      try {
        ingest(host, points(n, n + 100));
        for (int i = n; i < n + 100; ++i) acknowledged.insert(i);
      } catch (const host::HostError& failure) {
        refusal = failure;
      }
    }
    const int refused_first = n - 100;
    CHECK(refusal.has_value());
    if (refusal) CHECK((refusal->status() == EPHOR_FULL || refusal->status() == EPHOR_IO));
    CHECK(journal_health(host)["health"] == "degraded");
    CHECK(journal_health(host).dump().find("no events are taken") != std::string::npos);
    // Another one is told as well, although derived events wait to be stored.
    CHECK_THROWS_AS(ingest(host, points(90'000, 90'100)), host::HostError);
    setrlimit(RLIMIT_FSIZE, &saved);
    std::uint64_t last = 0;
    CHECK(comes_true([&] {
      try {
        last = ingest(host, points(refused_first, refused_first + 100)).last_sequence;
        return true;
      } catch (const host::HostError&) {
        return false;
      }
    }));
    for (int i = refused_first; i < refused_first + 100; ++i) acknowledged.insert(i);
    CHECK(Json::parse(host.query("adder.sums", "{}", last)) == sums_of(acknowledged));
    CHECK(journal_health(host)["health"] == "ok");
    CHECK(comes_true(
        [&] { return Json::parse(host.health_json())["instances"][0]["health"] == "ok"; }));
    CHECK(host.stop());
  }
  setrlimit(RLIMIT_FSIZE, &saved);
  std::signal(SIGXFSZ, previous);
  const auto stored = count_by(journal_of(directory.path()), "test.point", "n");
  CHECK(stored.size() == acknowledged.size());
  CHECK(all_once(stored));
  CHECK(all_once(count_by(journal_of(directory.path()), "derived.third", "n")));
}

}  // namespace ephor::testing
