// SPDX-License-Identifier: Apache-2.0
//
// The log over a journal that fails on demand, and replays that must not differ.
#include <zlib.h>

#include <chrono>
#include <fstream>
#include <future>
#include <random>
#include <semaphore>
#include <set>

#include "core/event_log.hpp"
#include "core/replay.hpp"
#include "event/error.hpp"
#include "host_support.hpp"

namespace ephor::testing {
namespace {

using host::EventLog;
using host::HostError;
using host::RunMode;

// ---- a journal in memory ----------------------------------------------------------------------

class MemoryJournal final : public host::Journal {
 public:
  // Called at the beginning of each append with its number from 1; may wait, or throw HostError.
  std::function<void(int)> on_append = [](int) {};
  std::function<void()> on_encode = [] {};

  host::EncodedBatch encode(const host::Batch& batch) const override {
    on_encode();
    if (batch.events.size() > host::kBatchEventsMax)
      throw HostError(EPHOR_INVALID, "too many events");
    return {};
  }
  using host::Journal::append;
  void append(std::span<host::Pending> group, std::string_view note) override {
    on_append(++appends_);
    const std::scoped_lock lock(mutex_);
    for (host::Pending& pending : group) {
      host::Batch& batch = *pending.batch;
      batch.position = batches_.size() + 1;
      std::vector<Kept>& stored = batches_.emplace_back();
      for (std::uint32_t i = 0; i < batch.events.size(); ++i) {
        ephor_event& event = batch.events[i];
        event.sequence = host::sequence_of(batch.position, i);
        stored.push_back(
            {event.sequence, std::string(record_of(event)), event.flags, event.time_ns});
      }
      ids_.insert(ids_.end(), batch.ids.begin(), batch.ids.end());
    }
    note_ = note;
  }
  std::string note() const override {
    const std::scoped_lock lock(mutex_);
    return note_;
  }
  void sync() override {}
  host::StoredBatch read(std::uint64_t position) const override {
    const std::scoped_lock lock(mutex_);
    host::StoredBatch out;
    out.position = position;
    std::string all;
    for (const Kept& kept : batches_.at(position - 1)) {
      out.records.push_back({all.size(), static_cast<std::uint32_t>(kept.record.size()),
                             EPHOR_ENCODING_JSON, kept.flags, kept.time_ns});
      all += kept.record;
    }
    out.bytes = body_of(all);
    return out;
  }
  bool next(std::uint64_t from, host::StoredBatch& batch) const override {
    if (from > last_position()) return false;
    batch = read(std::max<std::uint64_t>(from, 1));
    return true;
  }
  std::vector<std::uint64_t> find(std::span<const std::uint64_t>) const override { return {}; }
  std::uint64_t last_position() const override {
    const std::scoped_lock lock(mutex_);
    return batches_.size();
  }
  std::uint64_t oldest_position() const override { return last_position() == 0 ? 0 : 1; }
  void load_recent_ids(std::uint64_t, const IdsVisitor& visitor) const override {
    const std::scoped_lock lock(mutex_);
    if (!ids_.empty()) visitor(1, ids_);
  }
  void remove_before(std::uint64_t) override {}
  host::JournalStats stats() const override { return {}; }
  std::string id() const override { return std::string(32, '0'); }

  std::vector<Kept> all() const {
    const std::scoped_lock lock(mutex_);
    std::vector<Kept> out;
    for (const auto& batch : batches_) out.insert(out.end(), batch.begin(), batch.end());
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::vector<Kept>> batches_;
  std::vector<host::Hash128> ids_;
  std::string note_;
  int appends_ = 0;
};

struct LogOverMemory {
  host::Names names;
  host::Door door{host::IngestConfig{}, names};
  host::DescriberPool describers{door};
  MemoryJournal journal;
  host::Bus bus;
  EventLog log{{}, journal, bus, names, describers};

  ~LogOverMemory() { log.stop(); }

  host::IngestCounts post(std::string_view lines) {
    auto arrival =
        door.admit(body_of(lines), {EPHOR_FORMAT_LINES, "", kBegin + 1'000'000 * kSecond});
    return log.ingest(std::move(arrival.batches));
  }
  std::future<host::IngestCounts> post_elsewhere(std::string lines) {
    return std::async(std::launch::async, [this, text = std::move(lines)] { return post(text); });
  }
  std::map<std::string, int> numbers() const { return count_by(journal.all(), "test.point", "n"); }
};

// Waits, without a fixed sleep, for what another thread is about to do.
template <typename Condition>
bool comes_true(Condition&& condition) {
  const auto began = std::chrono::steady_clock::now();
  while (!condition()) {
    if (std::chrono::steady_clock::now() - began > std::chrono::nanoseconds(kLongEnough))
      return false;
    std::this_thread::yield();
  }
  return true;
}

// One append that stands still until it is let go, with or without success.
class Gate {
 public:
  void pass() {
    arrived_.release();
    go_.acquire();
    if (must_fail_) throw HostError(EPHOR_FULL, "no space left");
  }
  bool wait_for_arrival() {
    return arrived_.try_acquire_for(std::chrono::nanoseconds(kLongEnough));
  }
  void open() { go_.release(); }
  void fail() {
    must_fail_ = true;
    go_.release();
  }

 private:
  std::binary_semaphore arrived_{0};
  std::binary_semaphore go_{0};
  bool must_fail_ = false;
};

ephor_status refusal_of(std::future<host::IngestCounts>& posted) {
  try {
    (void)posted.get();
  } catch (const HostError& failure) {
    return failure.status();
  }
  return EPHOR_OK;
}

host::DerivedDraft derived_from(std::uint64_t cause) {
  host::DerivedDraft draft;
  draft.topic = "test.derived";
  draft.data_json = "{}";
  draft.instance = "instance";
  draft.epoch = "00000000";
  draft.cause_sequence = cause;
  draft.time_ns = kBegin;
  return draft;
}

TEST_CASE("journal failure: what was refused is accepted when it comes again",
          "[integration][log]") {
  LogOverMemory over;
  over.log.start();
  over.post(points(0, 10));
  const std::int64_t log_time_ns = over.log.log_time_ns();
  const std::string note = over.journal.note();
  over.journal.on_append = [](int) { throw HostError(EPHOR_FULL, "no space left"); };
  CHECK_THROWS_AS(over.post(points(5'000, 5'010)), HostError);
  CHECK_THROWS_AS(over.post(points(5'000, 5'010)), HostError);
  // Log time goes back with it: the next event is not late, though the refused ones were newer.
  CHECK(over.log.log_time_ns() == log_time_ns);
  CHECK(over.journal.note() == note);
  over.journal.on_append = [](int) {};
  const auto counts = over.post(points(5, 20));
  CHECK(counts.accepted == 10);
  CHECK(counts.duplicate == 5);
  CHECK(over.log.stats().late == 0);
  CHECK(over.post(points(5'000, 5'010)).accepted == 10);
  CHECK(over.numbers().size() == 30);
  CHECK(all_once(over.numbers()));
  CHECK(over.log.stats().commit_failures == 2);

  over.journal.on_encode = [] { throw std::bad_alloc(); };
  CHECK_THROWS_AS(over.post(points(6'000, 6'010)), HostError);
  over.journal.on_encode = [] {};
  CHECK(over.post(points(6'000, 6'010)).accepted == 10);
}

TEST_CASE("journal failure: a duplicate in flight behind what failed is refused too",
          "[integration][log]") {
  LogOverMemory over;
  Gate gate;
  over.journal.on_append = [&](int call) {
    if (call == 1) gate.pass();
  };
  over.log.start();
  auto first = over.post_elsewhere(points(0, 10));
  REQUIRE(gate.wait_for_arrival());
  auto second = over.post_elsewhere(points(0, 10));
  REQUIRE(comes_true([&] { return over.log.stats().duplicates == 10; }));
  gate.fail();
  CHECK(refusal_of(first) == EPHOR_FULL);
  CHECK(refusal_of(second) == EPHOR_IO);
  CHECK(over.post(points(0, 10)).accepted == 10);
  CHECK(all_once(over.numbers()));
}

// Between a failure and the turn of what was queued before it, somebody sends that again: it must
// not count as a duplicate of what will be refused.
TEST_CASE("journal failure: what will be refused makes no duplicates", "[integration][log]") {
  LogOverMemory over;
  Gate before, failing, retry;
  over.journal.on_append = [&](int call) {
    if (call == 1) before.pass();
    if (call == 2) failing.pass();
    if (call == 3) retry.pass();
  };
  over.log.start();
  auto zero = over.post_elsewhere(points(0, 1));
  REQUIRE(before.wait_for_arrival());
  auto one = over.post_elsewhere(points(100, 110));
  const std::uint64_t derived_ticket = [&] {
    // Behind `one`: its ticket must be the later one, so that both are in one group.
    std::uint64_t ticket = 0;
    REQUIRE(comes_true([&] { return over.log.greatest_time_ns() == kBegin + 109 * kSecond; }));
    const std::vector<host::DerivedDraft> drafts{derived_from(1)};
    ticket = over.log.append_derived(drafts);
    return ticket;
  }();
  before.open();
  // Whichever group `one` is in, the second append is the first one it can be in.
  REQUIRE(failing.wait_for_arrival());
  auto queued = over.post_elsewhere(points(200, 210));
  REQUIRE(comes_true([&] { return over.log.greatest_time_ns() == kBegin + 209 * kSecond; }));
  failing.fail();
  REQUIRE(retry.wait_for_arrival());
  CHECK(refusal_of(one) == EPHOR_FULL);
  auto again = over.post_elsewhere(points(200, 210));
  // Log time went back with the failure; it comes again with the new one.
  REQUIRE(comes_true([&] { return over.log.greatest_time_ns() == kBegin + 209 * kSecond; }));
  retry.open();
  CHECK(refusal_of(queued) == EPHOR_IO);
  const auto counts = again.get();
  CHECK(counts.accepted == 10);
  CHECK(counts.duplicate == 0);
  CHECK(over.log.wait_committed(derived_ticket, kLongEnough));
  zero.get();
  CHECK(over.numbers().size() == 11);
  CHECK(all_once(over.numbers()));
  // The note is that of what is stored.
  CHECK(Json::parse(over.journal.note())["greatest_ns"] == kBegin + 209 * kSecond);
}

TEST_CASE("journal failure: derived events are tried until they are stored", "[integration][log]") {
  LogOverMemory over;
  over.journal.on_append = [](int call) {
    if (call == 2 || call == 3) throw HostError(EPHOR_IO, "not now");
  };
  over.log.start();
  const std::uint64_t cause = over.post(points(0, 1)).last_sequence;
  const std::vector<host::DerivedDraft> drafts{derived_from(cause)};
  const std::uint64_t ticket = over.log.append_derived(drafts);
  CHECK(over.log.append_derived(drafts) == 0);  // known already
  REQUIRE(over.log.wait_committed(ticket, kLongEnough));
  const auto journal = over.journal.all();
  REQUIRE(!journal.empty());
  CHECK(journal.back().record.find("00000000-instance-" + std::to_string(cause) + "-0") !=
        std::string::npos);
  CHECK(over.log.stats().commit_failures == 2);
  CHECK(over.log.stats().derived_duplicates == 1);
}

TEST_CASE("log time: what a plugin brings in itself neither moves nor holds it",
          "[integration][log]") {
  LogOverMemory over;
  over.log.start();
  over.post(point(0, "a") + "\n" + point(1'000, "a") + "\n");
  const std::int64_t log_time_ns = over.log.log_time_ns();
  const std::int64_t greatest_ns = over.log.greatest_time_ns();
  over.post(point(9'000, "ephor/alerter") + "\n" + point(999, "ephor/alerter") + "\n");
  CHECK(over.log.log_time_ns() == log_time_ns);
  CHECK(over.log.greatest_time_ns() == greatest_ns);
  over.post(point(2'000, "a") + "\n");
  CHECK(over.log.log_time_ns() == log_time_ns + 1'000 * kSecond);
  CHECK(over.log.stats().late == 0);
}

TEST_CASE("log: what it stores does not depend on how events are batched", "[integration][log]") {
  std::vector<std::string> lines;
  std::mt19937 random(5);
  for (int n = 0; n < 2'000; ++n) {
    // Out of order by up to 20 minutes, so that some are late.
    const int at = std::max(0, 3 * n - static_cast<int>(random() % 1'200));
    std::string line = point(n, n % 3 == 0 ? "a" : "b");
    const std::string time = host::format_time(kBegin + n * kSecond);
    line.replace(line.find(time), time.size(), host::format_time(kBegin + at * kSecond));
    lines.push_back(line + "\n");
    if (n % 50 == 0) lines.push_back(lines[random() % lines.size()]);
  }
  const auto stored = [&](unsigned step_max) {
    LogOverMemory over;
    over.log.start();
    std::mt19937 steps(step_max);
    for (std::size_t i = 0; i < lines.size();) {
      std::string body;
      for (unsigned left = 1 + steps() % step_max; left > 0 && i < lines.size(); --left)
        body += lines[i++];
      over.post(body);
    }
    std::vector<std::pair<std::string, std::uint8_t>> out;
    for (const Kept& kept : over.journal.all()) out.emplace_back(kept.record, kept.flags);
    CHECK(over.log.stats().late > 0);
    CHECK(over.log.stats().ticks > 100);
    return out;
  };
  const auto one_by_one = stored(1);
  CHECK(stored(13) == one_by_one);
  CHECK(stored(100'000) == one_by_one);
}

TEST_CASE("log: a body of more events than a batch holds, with a tick behind each",
          "[integration][log]") {
  LogOverMemory over;
  over.log.start();
  constexpr int kEvents = 70'000;
  const auto counts = over.post(points(0, kEvents));
  CHECK(counts.accepted == kEvents);
  CHECK(over.log.stats().events == 2 * kEvents);
}

// ---- replay -----------------------------------------------------------------------------------

// Derives from points, and one of the two from what the other derived.
template <bool IsSecond>
class Deriver final : public Plugin {
 public:
  static constexpr std::string_view kId = IsSecond ? "second" : "first";
  Deriver(Host host, std::string_view) : host_(std::move(host)) {
    if (IsSecond)
      host_.subscribe({"test.point", "derived.first"});
    else
      host_.subscribe({"test.point"});
    host_.provide_query(std::string(kId) + ".summary", "", [this](std::string_view) {
      return Json{{std::string(kId), seen_}}.dump();
    });
  }
  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      ++seen_;
      const Json data = data_of(event);
      const int n = data["n"];
      const std::string text = Json{{"n", n}, {"seen", seen_}}.dump();
      if (n % (IsSecond ? 5 : 4) != 0) continue;
      host_.publish({.topic = IsSecond ? "derived.second" : "derived.first",
                     .data_json = text,
                     .cause = &event});
    }
  }
  void save(const Rows&, std::string& state) override { state = std::to_string(seen_); }
  bool load(std::uint32_t, std::string_view state) override {
    seen_ = std::stoi(std::string(state));
    return true;
  }

 private:
  Host host_;
  int seen_ = 0;
};

host::ReplayResult replayed(const std::filesystem::path& data_dir,
                            const host::ReplayOptions& options, std::size_t threads = 2) {
  auto settings = settings_for(
      data_dir, {instance_of<Deriver<false>>("first"), instance_of<Deriver<true>>("second")});
  settings.dispatch_threads = threads;
  host::Host host(settings, RunMode::replay);
  host.start();
  const host::ReplayResult result = host::replay(host, options);
  const Json summary = host::replay_summary(host, result);
  CHECK(summary["applied"] == result.applied);
  CHECK(summary["spans"].is_null());  // no plugin counts them
  CHECK(host.stop());
  return result;
}

host::ReplayOptions from_file(std::filesystem::path file) {
  host::ReplayOptions options;
  options.file = std::move(file);
  return options;
}

constexpr int kRecorded = 4'500;  // several chunks

// Three sources, somewhat out of order, 90 duplicates, two bad lines.
std::filesystem::path recording(const TemporaryDirectory& directory) {
  const auto file = directory.path() / "recording.ndjson.gz";
  std::string text;
  const auto line_of = [](int n) {
    std::string line = point(n, "source " + std::to_string(n % 3)) + "\n";
    if (n % 10 != 9) return line;
    const std::string time = host::format_time(kBegin + n * kSecond);
    line.replace(line.find(time), time.size(), host::format_time(kBegin + (n - 3) * kSecond));
    return line;
  };
  for (int n = 0; n < kRecorded; ++n) {
    text += line_of(n);
    if (n % 50 == 49) text += line_of(n - 20);
    if (n == 1'000 || n == 2'000) text += "{\"specversion\":\"1.0\",\n";
  }
  gzFile out = gzopen(file.c_str(), "wb1");
  REQUIRE(out != nullptr);
  REQUIRE(gzwrite(out, text.data(), static_cast<unsigned>(text.size())) ==
          static_cast<int>(text.size()));
  gzclose(out);
  return file;
}

TEST_CASE("replay: twice gives the same journal, byte for byte", "[integration][replay]") {
  const TemporaryDirectory files, a, b, c;
  const auto file = recording(files);
  const auto first = replayed(a.path(), from_file(file), 1);
  CHECK(first.applied == kRecorded);
  CHECK(first.duplicates == kRecorded / 50);
  CHECK(first.rejected == 2);
  REQUIRE(first.rejections.size() == 2);
  CHECK(first.rejections[0].line == 1'000 + 1 + 1'000 / 50 + 1);
  (void)replayed(b.path(), from_file(file), 2);
  const auto journal = journal_of(a.path());
  CHECK(journal == journal_of(b.path()));

  // first: n % 4 == 0. second: points with n % 5 == 0, and what first derived from n % 20 == 0.
  const auto firsts = count_by(journal, "derived.first", "n");
  const auto seconds = count_by(journal, "derived.second", "n");
  CHECK(firsts.size() == kRecorded / 4);
  CHECK(all_once(firsts));
  CHECK(seconds.size() == kRecorded / 5);
  CHECK(std::count_if(seconds.begin(), seconds.end(),
                      [](const auto& one) { return one.second == 2; }) == kRecorded / 20);
  CHECK(count_by(journal, "ephor.flush", "log_time").size() == 1);

  SECTION("the journal replayed is the journal") {
    host::ReplayOptions options;
    options.journal = a.path();
    const auto result = replayed(c.path(), options);
    CHECK(result.applied == kRecorded);
    CHECK(result.rejected == 0);
    CHECK(journal_of(c.path()) == journal);
  }
  SECTION("once more changes nothing") {
    const auto result = replayed(a.path(), from_file(file));
    CHECK(result.applied == 0);
    CHECK(result.duplicates == kRecorded + kRecorded / 50);
    CHECK(journal_of(a.path()) == journal);
  }
  SECTION("until") {
    host::ReplayOptions options = from_file(file);
    options.until_ns = kBegin + 1'499 * kSecond;
    const auto result = replayed(c.path(), options);
    CHECK(result.applied == 1'500);
    CHECK(result.duplicates == 30);
    CHECK(result.left_out == kRecorded + kRecorded / 50 - 1'530);
    CHECK(count_by(journal_of(c.path()), "test.point", "n").size() == 1'500);
    // What was left out comes with the next replay, and the raw events are the same in the end.
    CHECK(replayed(c.path(), from_file(file)).applied == kRecorded - 1'500);
    CHECK(count_by(journal_of(c.path()), "derived.second", "n") == seconds);
  }
}

TEST_CASE("replay: of a journal keeps the time of arrival of events that carry none",
          "[integration][replay]") {
  const TemporaryDirectory files, a, b;
  const auto file = files.path() / "timeless.ndjson";
  std::ofstream(file)
      << R"({"specversion":"1.0","id":"1","source":"s","type":"test.point","data":{"n":1}})"
      << "\n"
      << R"({"specversion":"1.0","id":"2","source":"s","type":"test.point",)"
      << R"("time":"2200-01-01T00:00:00Z","data":{"n":2}})"
      << "\n";
  (void)replayed(a.path(), from_file(file));
  host::ReplayOptions options;
  options.journal = a.path();
  (void)replayed(b.path(), options);
  const auto journal = journal_of(a.path());
  REQUIRE(journal.size() >= 2);
  CHECK((journal[0].flags & EPHOR_EVENT_TIME_ARRIVAL) != 0);
  CHECK(journal_of(b.path()) == journal);
}

// A plugin that comes later to a long journal derives more than a batch holds in its first round.
class Prolific final : public Plugin {
 public:
  static constexpr std::string_view kId = "prolific";
  Prolific(Host host, std::string_view) : host_(std::move(host)) {
    host_.subscribe({"test.point"});
  }
  void on_event(const Event& event) override {
    for (int i = 0; i < 20; ++i) {
      host_.publish({.topic = "derived.many", .data_json = R"({"n":0})", .cause = &event});
    }
  }

 private:
  Host host_;
};

TEST_CASE("replay: a new plugin may derive more than one batch holds at once",
          "[integration][replay]") {
  const TemporaryDirectory files, a;
  const auto file = recording(files);
  (void)replayed(a.path(), from_file(file));
  {
    host::Host host(settings_for(a.path(), {instance_of<Prolific>("prolific")}), RunMode::replay);
    host.start();
    CHECK(host::replay(host, from_file(file)).applied == 0);
    CHECK(host.log().stats().derived == 20 * kRecorded);
    CHECK(host.stop());
  }
}

}  // namespace
}  // namespace ephor::testing
