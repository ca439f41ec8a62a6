// SPDX-License-Identifier: Apache-2.0
//
// A live host with plugins from memory: ingest, restarts, slow and broken plugins.
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "event/error.hpp"
#include "host_support.hpp"

namespace ephor::testing {
namespace {

using host::RunMode;

// What plugins tell the tests, by instance.
struct Board {
  std::mutex mutex;
  std::map<std::string, std::vector<std::uint64_t>> sequences;
  std::map<std::string, std::vector<std::string>> records;
};
Board& board() {
  static Board the_board;
  return the_board;
}
std::vector<std::uint64_t> sequences_of(const std::string& instance) {
  const std::scoped_lock lock(board().mutex);
  return board().sequences[instance];
}

// Sums by key, in state and rows; publishes two events for some causes, first all of one kind and
// then all of the other, so that causes alternate.
template <std::uint32_t StateVersion>
class Counter final : public Plugin {
 public:
  static constexpr std::string_view kId = "counter";
  static constexpr std::string_view kVersion = "1.0.0";  // derived ids do not follow the state's
  static constexpr std::uint32_t kStateVersion = StateVersion;

  Counter(Host host, std::string_view) : host_(std::move(host)) {
    host_.subscribe({"test.point"});
    host_.declare_tables(
        R"({"version":1,"tables":[{"name":"counter_sums","key":["key"],"columns":[)"
        R"({"name":"key","type":"text"},{"name":"total","type":"integer"},{"name":"events","type":"integer"}]}]})");
    host_.provide_query("counter.sums", "", [this](std::string_view) { return state().dump(); });
    host_.provide_query("counter.rows", "", [this](std::string_view) {
      Json rows = Json::object();
      host_.select(
          "SELECT key, total, events FROM counter_sums", {},
          [&](std::span<const ephor_cell> cells) {
            rows[std::string(to_text(cells[0].bytes))] = {cells[1].integer, cells[2].integer};
          });
      return rows.dump();
    });
  }
  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      const Json data = data_of(event);
      auto& sum = sums_[data["key"]];
      sum.first += data["value"].get<std::int64_t>();
      ++sum.second;
      changed_.insert(data["key"].get<std::string>());
      if (data["n"].get<int>() % 3 == 0) publish("derived.third", event, data);
    }
    for (const Event& event : events) {
      const Json data = data_of(event);
      if (data["n"].get<int>() % 9 == 0) publish("derived.ninth", event, data);
    }
  }
  void save(const Rows& rows, std::string& state_text) override {
    for (const std::string& key : changed_) {
      rows.upsert("counter_sums", {Cell::text(key), Cell::integer_value(sums_[key].first),
                                   Cell::integer_value(sums_[key].second)});
    }
    changed_.clear();
    state_text = state().dump();
  }
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
  void publish(std::string_view topic, const Event& event, const Json& data) {
    const std::string text = Json{{"n", data["n"]}}.dump();
    host_.publish({.topic = topic, .data_json = text, .cause = &event});
  }

  Host host_;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sums_;
  std::set<std::string> changed_;
};

// In closed form: the sums over events [0, count).
Json sums_of(int count) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sums;
  for (int n = 0; n < count; ++n) {
    sums[key_of(n)].first += value_of(n);
    ++sums[key_of(n)].second;
  }
  Json out = Json::object();
  for (const auto& [key, sum] : sums) out[key] = {sum.first, sum.second};
  return out;
}

// Notes every sequence; config {"policy", "slow_us" per slice}.
class Recorder final : public Plugin {
 public:
  static constexpr std::string_view kId = "recorder";
  Recorder(Host host, std::string_view config) : host_(std::move(host)) {
    const Json given = Json::parse(config);
    slow_us_ = given.value("slow_us", 0);
    host_.subscribe({">"}, given.value("policy", 0U));
  }
  void on_events(std::span<const Event> events) override {
    std::this_thread::sleep_for(std::chrono::microseconds(slow_us_));
    const std::scoped_lock lock(board().mutex);
    for (const Event& event : events) board().sequences[host_.instance()].push_back(event.sequence);
  }

 private:
  Host host_;
  int slow_us_ = 0;
};

// The way in of an outside client.
class Source final : public Plugin {
 public:
  static constexpr std::string_view kId = "source";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_SOURCE;
  static inline std::atomic<Source*> current{nullptr};

  Source(Host host, std::string_view)
      : host_(std::move(host)), journal_(&host_.required<ephor_journal>("ephor.journal/1")) {}
  void start() override { current = this; }
  void stop() override { current = nullptr; }

  ephor_ingest_result post(std::string_view text, std::vector<std::string>* rejected = nullptr) {
    char* to = nullptr;
    ephor_buffer* buffer = journal_->acquire(journal_->context, text.size(), &to);
    REQUIRE(buffer != nullptr);
    text.copy(to, text.size());
    ephor_ingest_result result{};
    result.struct_size = sizeof result;
    check([&](ephor_error* error) {
      return journal_->ingest(
          journal_->context, buffer, text.size(), EPHOR_FORMAT_LINES, to_view("client"),
          [](void* user, const ephor_rejection* one) {
            if (user == nullptr) return;
            static_cast<std::vector<std::string>*>(user)->push_back(
                std::to_string(one->line) + " " + std::string(to_text(one->json_pointer)));
          },
          rejected, &result, error);
    });
    return result;
  }

 private:
  Host host_;
  const ephor_journal* journal_;
};

TEST_CASE("live: counts, duplicates and order; a query reads what was posted before it",
          "[integration][host]") {
  const TemporaryDirectory directory;
  board().sequences.clear();
  const auto settings = settings_for(
      directory.path(), {instance_of<Counter<1>>("counter"), instance_of<Recorder>("recorder"),
                         instance_of<Source>("source")});
  {
    host::Host host(settings, RunMode::live);
    host.start();
    Source& source = *Source::current.load();
    std::vector<std::string> rejected;
    const auto first =
        source.post(points(0, 100) + point(7) + "\n{\"broken\n" + point(99) + "\n", &rejected);
    CHECK(first.accepted == 100);
    CHECK(first.duplicate == 2);
    CHECK(first.rejected == 1);
    CHECK(first.events == 100);
    REQUIRE(rejected.size() == 1);
    CHECK(rejected[0] == "102 ");
    CHECK(Json::parse(host.query("counter.sums", "{}", first.last_sequence)) == sums_of(100));

    const auto second = source.post(points(50, 200));
    CHECK(second.accepted == 100);
    CHECK(second.duplicate == 50);
    CHECK(second.last_sequence > first.last_sequence);
    CHECK(Json::parse(host.query("counter.sums", "{}", second.last_sequence)) == sums_of(200));
    const auto third = source.post(points(0, 200));
    CHECK(third.accepted == 0);
    CHECK(third.duplicate == 200);
    CHECK(third.last_sequence >= second.last_sequence);
    CHECK(host.stop());
    const auto seen = sequences_of("recorder");
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  }
  host::Host again(settings, RunMode::live);
  again.start();
  const auto result = Source::current.load()->post(points(150, 250));
  CHECK(result.accepted == 50);
  CHECK(result.duplicate == 50);
  CHECK(Json::parse(again.query("counter.sums", "{}", result.last_sequence)) == sums_of(250));
  CHECK(again.stop());
}

TEST_CASE("live: what was acknowledged is there after the host was dropped",
          "[integration][host]") {
  const TemporaryDirectory directory;
  constexpr int kRuns = 4;
  std::atomic<int> next{0};
  std::set<int> acknowledged;
  std::mutex mutex;
  for (int run = 0; run < kRuns; ++run) {
    host::Host host(settings_for(directory.path(), {instance_of<Counter<1>>("counter")}),
                    RunMode::live);
    host.start();
    std::vector<std::thread> clients;
    for (int client = 0; client < 2; ++client) {
      clients.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          const int first = next.fetch_add(10);
          if (ingest(host, points(first, first + 10)).accepted != 10) continue;
          const std::scoped_lock lock(mutex);
          for (int n = first; n < first + 10; ++n) acknowledged.insert(n);
        }
      });
    }
    for (std::thread& client : clients) client.join();
    host.abandon();
  }
  const auto stored = count_by(journal_of(directory.path()), "test.point", "n");
  CHECK(acknowledged.size() == kRuns * 2 * 20 * 10);
  CHECK(stored.size() == acknowledged.size());
  CHECK(all_once(stored));
  CHECK(std::all_of(acknowledged.begin(), acknowledged.end(),
                    [&](int n) { return stored.contains(std::to_string(n)); }));
}

TEST_CASE("exactly once: restarts at random points leave no trace in the results",
          "[integration][host]") {
  constexpr int kEvents = 3'000;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const TemporaryDirectory directory;
    std::mt19937 random(seed);
    auto settings = settings_for(directory.path(), {instance_of<Counter<1>>("counter")});
    settings.checkpoint_every_ns = seed == 3 ? 2'000'000 : 0;
    auto host = std::make_unique<host::Host>(settings, RunMode::live);
    host->start();
    int restarts = 0;
    for (int n = 0; n < kEvents;) {
      const int last = std::min(kEvents, n + 1 + static_cast<int>(random() % 120));
      ingest(*host, points(n, last));
      n = last;
      if (random() % 4 == 0) host->wait_until_read(kLongEnough);
      if (random() % 6 == 0) CHECK(host->save(kLongEnough));
      if (random() % 5 != 0) continue;
      ++restarts;
      if (random() % 5 == 0)
        host->stop();
      else
        host->abandon();
      host.reset();
      host = std::make_unique<host::Host>(settings, RunMode::live);
      host->start();
    }
    INFO("seed " << seed << ", restarts " << restarts);
    CHECK(restarts > 2);
    const std::uint64_t last = host->log().last_sequence();
    CHECK(Json::parse(host->query("counter.sums", "{}", last)) == sums_of(kEvents));
    CHECK(host->wait_until_read(kLongEnough));
    CHECK(host->save(kLongEnough));
    CHECK(Json::parse(host->query("counter.rows")) == sums_of(kEvents));
    CHECK(host->stop());
    host.reset();
    const auto journal = journal_of(directory.path());
    const auto thirds = count_by(journal, "derived.third", "n");
    const auto ninths = count_by(journal, "derived.ninth", "n");
    CHECK(thirds.size() == (kEvents + 2) / 3);
    CHECK(ninths.size() == (kEvents + 8) / 9);
    CHECK(all_once(thirds));
    CHECK(all_once(ninths));
    CHECK(all_once(count_by(journal, "derived.third", "id")));
  }
}

TEST_CASE("state: of another version is rebuilt from the journal", "[integration][host]") {
  const TemporaryDirectory directory;
  {
    host::Host host(settings_for(directory.path(), {instance_of<Counter<1>>("counter")}),
                    RunMode::live);
    host.start();
    ingest(host, points(0, 500));
    CHECK(host.stop());
  }
  host::Host host(settings_for(directory.path(), {instance_of<Counter<2>>("counter")}),
                  RunMode::live);
  host.start();
  const std::uint64_t last = ingest(host, points(400, 600)).last_sequence;
  CHECK(Json::parse(host.query("counter.sums", "{}", last)) == sums_of(600));
  CHECK(host.stop());
  CHECK(all_once(count_by(journal_of(directory.path()), "derived.third", "n")));
}

TEST_CASE("slow readers: replay loses nothing, drop_oldest counts what it loses",
          "[integration][host]") {
  const TemporaryDirectory directory;
  board().sequences.clear();
  // Slow beside the publisher, which a sanitizer slows too.
  const std::string slow_us = std::to_string(patience(std::chrono::milliseconds(4)).count() / 1000);
  auto settings =
      settings_for(directory.path(),
                   {instance_of<Recorder>("dropping", R"({"policy":1,"slow_us":)" + slow_us + "}"),
                    instance_of<Recorder>("fast"),
                    instance_of<Recorder>("slow", R"({"slow_us":)" + slow_us + "}")});
  settings.bus_bytes = 128U << 10;
  settings.dispatch_threads = 3;
  host::Host host(settings, RunMode::live);
  host.start();
  constexpr int kEvents = 20'000;
  for (int n = 0; n < kEvents; n += 200) ingest(host, points(n, n + 200));
  REQUIRE(host.wait_until_read(kLongEnough));
  const host::Instance& dropping = *host.instances()[0];
  const auto began = std::chrono::steady_clock::now();
  while (dropping.reader_stats().lag != 0 &&
         std::chrono::steady_clock::now() - began < std::chrono::nanoseconds(kLongEnough)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const host::ReaderStats stats = dropping.reader_stats();
  const std::uint64_t published = host.bus().stats().events;
  CHECK(host.stop());
  CHECK(published >= kEvents);
  CHECK(stats.skipped > 0);
  CHECK(stats.delivered + stats.skipped == published);
  const auto dropped = sequences_of("dropping");
  CHECK(dropped.size() == stats.delivered);
  CHECK(std::is_sorted(dropped.begin(), dropped.end()));

  std::vector<std::uint64_t> all;
  for (const Kept& kept : journal_of(directory.path())) all.push_back(kept.sequence);
  CHECK(sequences_of("fast") == all);
  CHECK(sequences_of("slow") == all);
}

class Thrower final : public Plugin {
 public:
  static constexpr std::string_view kId = "thrower";
  Thrower(Host host, std::string_view) { host.subscribe({"test.point"}); }
  void on_event(const Event&) override { throw std::runtime_error("thrown on purpose"); }
};

TEST_CASE("a throwing plugin: is named, and disturbs no other", "[integration][host]") {
  const TemporaryDirectory directory;
  host::Host host(settings_for(directory.path(), {instance_of<Counter<1>>("counter"),
                                                  instance_of<Thrower>("thrower")}),
                  RunMode::live);
  host.start();
  std::uint64_t last = 0;
  for (int n = 0; n < 1'000; n += 100) last = ingest(host, points(n, n + 100)).last_sequence;
  CHECK(Json::parse(host.query("counter.sums", "{}", last)) == sums_of(1'000));
  REQUIRE(host.wait_until_read(kLongEnough));
  const host::Instance& thrower = *host.instances()[1];
  // Slices are at most 256 events: 1,000 events are at least 4 calls.
  CHECK(thrower.error_count() >= 4);
  CHECK(host.instances()[0]->error_count() == 0);
  const Json health = Json::parse(host.health_json());
  CHECK(health["ready"] == true);
  CHECK(health["instances"][1]["health"] == "degraded");
  CHECK(health["instances"][1]["reason"].get<std::string>().find("thrown on purpose") !=
        std::string::npos);
  CHECK(health["instances"][0]["health"] == "ok");
  CHECK(health["mode"] == "live");
  CHECK(health["data_dir"] == directory.path().string());
  CHECK(health["newest_time"] == host::format_time(host.log().greatest_time_ns()));
  CHECK(host.stop());
}

// Publishes for every event, and fails when it has done so.
class LateThrower final : public Plugin {
 public:
  static constexpr std::string_view kId = "late";
  LateThrower(Host host, std::string_view) : host_(std::move(host)) {
    host_.subscribe({"test.point"});
  }
  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      host_.publish({.topic = "late.seen", .data_json = "{}", .cause = &event});
    }
    throw std::runtime_error("too late");
  }

 private:
  Host host_;
};

TEST_CASE("a failing slice without state: what was published stays, and its dead letter comes",
          "[integration][host]") {
  const TemporaryDirectory directory;
  {
    host::Host host(settings_for(directory.path(), {instance_of<LateThrower>("late")}),
                    RunMode::live);
    host.start();
    ingest(host, points(0, 10));
    CHECK(host.wait_until_read(kLongEnough));
    CHECK(host.instances()[0]->dead_letter_count() == 10);
    CHECK(host.stop());
  }
  int seen = 0;
  std::uint64_t laid_aside = 0;
  for (const Kept& kept : journal_of(directory.path())) {
    const Json record = Json::parse(kept.record);
    seen += record["type"] == "late.seen" ? 1 : 0;
    if (record["type"] == "ephor.deadletter") {
      laid_aside += record["data"]["events"].get<std::uint64_t>();
    }
  }
  CHECK(seen == 10);
  CHECK(laid_aside == 10);
}

// Holds its dispatcher's thread until it is let go.
class Holder final : public Plugin {
 public:
  static constexpr std::string_view kId = "holder";
  static inline std::atomic<bool> is_inside{false};
  static inline std::atomic<bool> may_leave{false};
  Holder(Host host, std::string_view) { host.subscribe({"test.point"}); }
  void on_events(std::span<const Event>) override {
    is_inside = true;
    while (!may_leave) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
};

TEST_CASE("a plugin that holds its thread: the others are served by another thread",
          "[integration][host]") {
  const TemporaryDirectory directory;
  board().sequences.clear();
  Holder::is_inside = Holder::may_leave = false;
  auto settings = settings_for(directory.path(),
                               {instance_of<Counter<1>>("counter"), instance_of<Holder>("holder"),
                                instance_of<Recorder>("recorder")});
  settings.dispatch_threads = 1;
  host::Host host(settings, RunMode::live);
  host.start();
  ingest(host, points(0, 10));
  while (!Holder::is_inside) std::this_thread::yield();
  std::uint64_t last = 0;
  for (int n = 10; n < 1'000; n += 10) last = ingest(host, points(n, n + 10)).last_sequence;
  CHECK(Json::parse(host.query("counter.sums", "{}", last)) == sums_of(1'000));
  CHECK_FALSE(host.wait_until_read(kSecond / 100));  // the holder has not read
  Holder::may_leave = true;
  CHECK(host.wait_until_read(kLongEnough));
  CHECK(host.stop());
  std::vector<std::uint64_t> all;
  for (const Kept& kept : journal_of(directory.path())) all.push_back(kept.sequence);
  CHECK(sequences_of("recorder") == all);
}

TEST_CASE("a call above the hard limit: quarantined, and forgiven when it comes back after all",
          "[integration][host]") {
  const TemporaryDirectory directory;
  Holder::is_inside = Holder::may_leave = false;
  auto settings = settings_for(directory.path(),
                               {instance_of<Counter<1>>("counter"), instance_of<Holder>("holder")});
  for (auto& one : settings.instances) {
    one.faults.soft_limit_ns = kSecond / 20;
    one.faults.hard_limit_ns = kSecond / 10;
  }
  host::Host host(settings, RunMode::live);
  host.start();
  ingest(host, points(0, 10));
  const auto holder = host.instances()[1];
  const auto began = std::chrono::steady_clock::now();
  while (holder->phase() != host::Phase::quarantined &&
         std::chrono::steady_clock::now() - began < std::chrono::nanoseconds(kLongEnough)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(holder->phase() == host::Phase::quarantined);
  CHECK(holder->is_hung());
  CHECK(host.has_hung_threads());
  CHECK(host.wait_until_read(kLongEnough));  // nobody waits for it any more
  CHECK_THROWS_AS(host.release("holder"), host::HostError);
  CHECK_THROWS_AS(host.release("nobody"), host::HostError);
  Holder::may_leave = true;
  while (holder->is_hung()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  host.release("holder");
  while (holder->phase() != host::Phase::running) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(holder->restart_count() == 1);
  CHECK(host.wait_until_read(kLongEnough));
  CHECK(host.stop());
  CHECK_FALSE(host.has_hung_threads());
}

template <std::uint32_t Capabilities>
class FailsToStart final : public Plugin {
 public:
  static constexpr std::string_view kId = "fails";
  static constexpr std::uint32_t kCapabilities = Capabilities;
  FailsToStart(Host host, std::string_view) { host.subscribe({">"}); }
  void start() override { throw std::runtime_error("no port is free"); }
};

TEST_CASE("a plugin that does not start: the others run, and nobody waits for it",
          "[integration][host]") {
  const TemporaryDirectory directory;
  auto settings = settings_for(
      directory.path(), {instance_of<Counter<1>>("counter"), instance_of<FailsToStart<0>>("reader"),
                         instance_of<FailsToStart<EPHOR_CAP_SOURCE>>("source")});
  settings.bus_bytes = 128U << 10;
  host::Host host(settings, RunMode::live);
  host.start();
  std::uint64_t last = 0;
  for (int n = 0; n < 2'000; n += 100) last = ingest(host, points(n, n + 100)).last_sequence;
  CHECK(Json::parse(host.query("counter.sums", "{}", last)) == sums_of(2'000));
  const Json health = Json::parse(host.health_json());
  CHECK(health["ready"] == false);
  for (const std::size_t i : {1U, 2U}) {
    CHECK(health["instances"][i]["health"] == "failed");
    CHECK(health["instances"][i]["state"] == "failed");
    CHECK(health["instances"][i]["reason"].get<std::string>().find("no port is free") !=
          std::string::npos);
  }
  CHECK(health["instances"][0]["state"] == "running");
  CHECK(host.wait_until_read(10 * kSecond));
  CHECK(host.stop());
}

// Offers the same query as every other instance of it.
class Greedy final : public Plugin {
 public:
  static constexpr std::string_view kId = "greedy";
  Greedy(Host host, std::string_view) : host_(std::move(host)) {}
  void start() override {
    host_.provide_query("greedy.it", "",
                        [this](std::string_view) { return "\"" + host_.instance() + "\""; });
  }

 private:
  Host host_;
};

TEST_CASE("a taken query: the second instance fails and names the first", "[integration][host]") {
  const TemporaryDirectory directory;
  host::Host host(
      settings_for(directory.path(), {instance_of<Greedy>("one"), instance_of<Greedy>("two")}),
      RunMode::live);
  host.start();
  CHECK(host.query("greedy.it") == "\"one\"");
  CHECK(host.instances()[1]->health().reason.find("already provided by instance one") !=
        std::string::npos);
  CHECK(host.stop());
}

TEST_CASE("concurrent clients: overlapping duplicates are stored once", "[integration][host]") {
  const TemporaryDirectory directory;
  constexpr int kEvents = 4'000;
  std::uint64_t accepted = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t posted = 0;
  {
    host::Host host(settings_for(directory.path(), {instance_of<Counter<1>>("counter")}),
                    RunMode::live);
    host.start();
    std::mutex mutex;
    std::vector<std::thread> clients;
    for (unsigned client = 0; client < 4; ++client) {
      clients.emplace_back([&, client] {
        std::mt19937 random(client + 1);
        // Every client posts every event, in steps of its own.
        for (int n = 0; n < kEvents;) {
          const int last = std::min(kEvents, n + 1 + static_cast<int>(random() % 90));
          const auto counts = ingest(host, points(n, last));
          const std::scoped_lock lock(mutex);
          accepted += counts.accepted;
          duplicate += counts.duplicate;
          posted += static_cast<std::uint64_t>(last - n);
          n = last;
        }
      });
    }
    for (std::thread& client : clients) client.join();
    const std::uint64_t last = host.log().last_sequence();
    CHECK(Json::parse(host.query("counter.sums", "{}", last)) == sums_of(kEvents));
    CHECK(host.stop());
  }
  CHECK(accepted == kEvents);
  CHECK(accepted + duplicate == posted);
  const auto stored = count_by(journal_of(directory.path()), "test.point", "id");
  CHECK(stored.size() == kEvents);
  CHECK(all_once(stored));
}

}  // namespace
}  // namespace ephor::testing
