// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/dedup_window.hpp"
#include "core/derived.hpp"
#include "core/log_time.hpp"
#include "event/times.hpp"
#include "ingest/door.hpp"
#include "support/catch.hpp"

namespace ephor::host {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr LogTimeOptions kShort{10 * kSecond, 60 * kSecond};  // lateness, idle after

// ---- DedupWindow ------------------------------------------------------------------------------

// Every insertion takes a place in line; a place counts until `capacity` newer ones exist.
class NaiveWindow {
 public:
  explicit NaiveWindow(std::uint64_t capacity) : capacity_(capacity) {}
  bool contains(std::uint32_t id) const {
    const auto found = place_of_.find(id);
    return found != place_of_.end() && found->second + capacity_ > inserted_;
  }
  bool insert(std::uint32_t id) {
    if (contains(id)) return false;
    place_of_[id] = ++inserted_;
    // The newest `capacity` places are inserted_ - capacity + 1 to inserted_.
    std::erase_if(place_of_, [&](const auto& one) { return one.second + capacity_ <= inserted_; });
    return true;
  }
  void erase(std::uint32_t id) { place_of_.erase(id); }
  std::size_t size() const { return place_of_.size(); }

 private:
  std::uint64_t capacity_;
  std::uint64_t inserted_ = 0;
  std::map<std::uint32_t, std::uint64_t> place_of_;
};

// Few distinct low halves: long probe runs.
Hash128 id_of(std::uint32_t number, std::uint32_t homes) {
  return {number % homes, (static_cast<std::uint64_t>(number) << 32) | (number / 7U)};
}

TEST_CASE("dedup window: does what a list of the last ids does", "[unit][log]") {
  struct Case {
    std::uint32_t capacity, ids, homes, steps;
  };
  for (const Case one : {Case{1, 4, 2, 3'000}, Case{7, 20, 3, 20'000}, Case{64, 150, 1000, 20'000},
                         Case{900, 2'000, 97, 20'000}}) {
    std::mt19937 random(one.capacity);
    DedupWindow window(one.capacity);
    NaiveWindow naive(one.capacity);
    bool is_same = true;
    for (std::uint32_t step = 0; step < one.steps && is_same; ++step) {
      const std::uint32_t number = random() % one.ids;
      const Hash128 id = id_of(number, one.homes);
      if (random() % 5 == 0) {
        window.erase(id);
        naive.erase(number);
      } else {
        is_same = window.insert(id) == naive.insert(number);
      }
      const std::uint32_t other = random() % one.ids;
      is_same = is_same && window.contains(id_of(other, one.homes)) == naive.contains(other) &&
                window.size() == naive.size();
    }
    INFO("capacity " << one.capacity);
    CHECK(is_same);
  }
  CHECK_THROWS_AS(DedupWindow(0), std::invalid_argument);
}

// ---- LogTime ----------------------------------------------------------------------------------

// The definition, word for word, from the whole history.
class NaiveLogTime {
 public:
  struct Seen {
    bool is_late;
    std::optional<std::int64_t> tick_ns;
  };
  explicit NaiveLogTime(LogTimeOptions options) : options_(options) {}
  Seen observe(std::uint32_t source, std::int64_t time_ns) {
    Seen seen{false, std::nullopt};
    if (const auto found = greatest_.find(source); found != greatest_.end()) {
      seen.is_late = time_ns < found->second - options_.lateness_ns;
    }
    if (flushed_ && time_ns < *flushed_) seen.is_late = true;
    auto& greatest = greatest_.try_emplace(source, time_ns).first->second;
    greatest = std::max(greatest, time_ns);
    std::int64_t newest = INT64_MIN;
    for (const auto& [unused, at] : greatest_) newest = std::max(newest, at);
    std::int64_t least = INT64_MAX;
    for (const auto& [unused, at] : greatest_) {
      if (at >= newest - options_.idle_after_ns) least = std::min(least, at - options_.lateness_ns);
    }
    if (!now_ || least > *now_) now_ = least;
    // Times in the tests are positive, so division rounds down.
    if (const std::int64_t second = *now_ / kSecond; second > tick_s_) {
      tick_s_ = second;
      seen.tick_ns = second * kSecond;
    }
    return seen;
  }
  void flush() {
    std::int64_t newest = INT64_MIN;
    for (const auto& [unused, at] : greatest_) newest = std::max(newest, at);
    flushed_ = newest;
    now_ = std::max(*now_, newest);
    tick_s_ = std::max(tick_s_, *now_ / kSecond);
  }
  std::int64_t now() const { return *now_; }

 private:
  LogTimeOptions options_;
  std::map<std::uint32_t, std::int64_t> greatest_;
  std::optional<std::int64_t> now_, flushed_;
  std::int64_t tick_s_ = INT64_MIN;
};

std::optional<std::int64_t> seconds(std::int64_t s) { return s * kSecond; }

TEST_CASE("log time: one tick a second of it, and one for a jump", "[unit][log]") {
  LogTime time(kShort);
  CHECK(time.now_ns() == LogTime::kNone);
  CHECK_FALSE(time.can_flush());
  CHECK(time.observe(1, 100 * kSecond).tick_ns == seconds(90));
  CHECK_FALSE(time.observe(1, 100 * kSecond + kSecond / 2).tick_ns);
  CHECK(time.now_ns() == 90 * kSecond + kSecond / 2);
  CHECK(time.observe(1, 101 * kSecond).tick_ns == seconds(91));
  CHECK(time.observe(1, 5'000 * kSecond).tick_ns == seconds(4'990));
  CHECK_FALSE(time.observe(1, 4'000 * kSecond).tick_ns);
  CHECK(time.now_ns() == 4'990 * kSecond);
}

TEST_CASE("log time: before 1970 seconds round down too", "[unit][log]") {
  LogTime time({0, 60 * kSecond});
  CHECK(time.observe(1, -1'500'000'000).tick_ns == seconds(-2));
  CHECK_FALSE(time.observe(1, -1'100'000'000).tick_ns);
  CHECK(time.observe(1, -1'000'000'000).tick_ns == seconds(-1));
  CHECK(time.observe(1, 0).tick_ns == seconds(0));
}

TEST_CASE("log time: the slowest active source holds it back, an idle one does not",
          "[unit][log]") {
  LogTime time(kShort);
  time.observe(1, 100 * kSecond);
  CHECK_FALSE(time.observe(2, 95 * kSecond).tick_ns);
  CHECK(time.now_ns() == 90 * kSecond);  // never back
  CHECK_FALSE(time.observe(1, 150 * kSecond).tick_ns);
  CHECK(time.observe(2, 130 * kSecond).tick_ns == seconds(120));
  CHECK(time.observe(1, 190 * kSecond).tick_ns == std::nullopt);  // 2 is 60 s behind: still active
  CHECK(time.observe(1, 190 * kSecond + 1).tick_ns == seconds(180));
}

TEST_CASE("log time: late is behind the source's own watermark or behind a flush", "[unit][log]") {
  LogTime time(kShort);
  time.observe(1, 100 * kSecond);
  time.observe(2, 300 * kSecond);
  CHECK_FALSE(time.observe(1, 90 * kSecond).is_late);
  CHECK(time.observe(1, 90 * kSecond - 1).is_late);
  CHECK_FALSE(time.observe(3, 1 * kSecond).is_late);  // a source's first event has no watermark
  REQUIRE(time.can_flush());
  CHECK(time.flush() == seconds(300));
  CHECK(time.now_ns() == 300 * kSecond);
  CHECK_FALSE(time.can_flush());
  CHECK_FALSE(time.flush());
  CHECK(time.observe(2, 300 * kSecond - 1).is_late);
  CHECK_FALSE(time.observe(2, 300 * kSecond).is_late);
  CHECK_FALSE(time.observe(2, 305 * kSecond).tick_ns);  // the flush was ahead of it
  CHECK(time.observe(2, 312 * kSecond).tick_ns == seconds(302));
}

TEST_CASE("log time: random sources agree with the definition", "[unit][log]") {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    LogTime time(kShort);
    NaiveLogTime naive(kShort);
    std::int64_t clock_ns = 1'000 * kSecond;
    bool is_same = true;
    for (int i = 0; i < 1'500 && is_same; ++i) {
      clock_ns += static_cast<std::int64_t>(random() % 700) * 1'000'000;
      if (random() % 300 == 0) clock_ns += 100 * kSecond;
      const std::uint32_t source = random() % 5;
      const std::int64_t at =
          clock_ns - static_cast<std::int64_t>(random() % (source * 8 + 1)) * kSecond;
      if (source == 4 && random() % 4 != 0) continue;  // a sparse one, often idle
      const LogTime::Seen seen = time.observe(source, at);
      const NaiveLogTime::Seen expected = naive.observe(source, at);
      is_same = seen.is_late == expected.is_late && seen.tick_ns == expected.tick_ns &&
                time.now_ns() == naive.now();
      if (is_same && random() % 400 == 0 && time.can_flush()) {
        time.flush();
        naive.flush();
        is_same = time.now_ns() == naive.now();
      }
    }
    INFO("seed " << seed);
    CHECK(is_same);
  }
}

TEST_CASE("log time: goes on after save and load as if nothing had happened", "[unit][log]") {
  // No source falls idle here: what is long idle is not saved.
  const LogTimeOptions options{10 * kSecond, 1'000'000 * kSecond};
  std::mt19937 random(3);
  LogTime uninterrupted(options);
  LogTime restarted(options);
  std::uint32_t shift = 0;  // numbers are another process's: the same names, other numbers
  bool is_same = true;
  for (int i = 0; i < 3'000 && is_same; ++i) {
    const std::uint32_t source = random() % 6;
    const std::int64_t at = (1'000 + i / 4 - static_cast<std::int64_t>(random() % 30)) * kSecond;
    const auto one = uninterrupted.observe(source, at);
    const auto other = restarted.observe(source + shift, at);
    is_same = one.is_late == other.is_late && one.tick_ns == other.tick_ns &&
              uninterrupted.now_ns() == restarted.now_ns();
    if (i % 500 == 250) {
      CHECK(uninterrupted.flush() == restarted.flush());
    }
    if (i % 37 == 0) {
      const std::string text = restarted.save(
          [&](std::uint32_t number) { return "source " + std::to_string(number - shift); });
      shift += 10;
      restarted = LogTime(options);
      REQUIRE(restarted.load(text, [&](std::string_view name) {
        return static_cast<std::uint32_t>(std::stoul(std::string(name.substr(7)))) + shift;
      }));
    }
  }
  CHECK(is_same);
  LogTime time(options);
  const auto number_of = [](std::string_view) { return 0U; };
  CHECK_FALSE(time.load("", number_of));
  CHECK_FALSE(time.load("{}", number_of));
  CHECK_FALSE(time.load(
      R"({"version":2,"now_ns":0,"greatest_ns":0,"flushed_ns":0,"tick_s":0,"sources":[]})",
      number_of));
}

TEST_CASE("log time: a restart makes no difference to a source that is idle", "[unit][log]") {
  const auto name_of = [](std::uint32_t number) { return std::to_string(number); };
  const auto number_of = [](std::string_view name) {
    return static_cast<std::uint32_t>(std::stoul(std::string(name)));
  };
  LogTime uninterrupted(kShort);
  LogTime restarted(kShort);
  std::mt19937 random(11);
  bool is_same = true;
  int late = 0;
  for (int i = 0; i < 4'000 && is_same; ++i) {
    // Source 2 comes seldom, far behind and out of order; once in a while everything jumps.
    const std::uint32_t source = i % 50 == 0 ? 2 : 1;
    std::int64_t at = (10'000 + i + i / 1'000 * 5'000) * kSecond;
    if (source == 2) at -= static_cast<std::int64_t>(100 + random() % 400) * kSecond;
    const auto one = uninterrupted.observe(source, at);
    const auto other = restarted.observe(source, at);
    is_same = one.is_late == other.is_late && one.tick_ns == other.tick_ns;
    late += one.is_late ? 1 : 0;
    const std::string text = restarted.save(name_of);
    restarted = LogTime(kShort);
    REQUIRE(restarted.load(text, number_of));
  }
  CHECK(is_same);
  CHECK(late > 10);
}

// ---- derived events ---------------------------------------------------------------------------

DerivedDraft draft(std::uint64_t cause, std::uint32_t order, std::uint32_t index,
                   std::string data = "{}") {
  static const std::array<std::string, 3> kInstances{"alpha", "beta", "gamma"};
  DerivedDraft made;
  made.topic = "test.derived";
  made.data_json = std::move(data);
  made.instance = kInstances.at(order);
  made.epoch = "0a1b2c3d";
  made.instance_order = order;
  made.index = index;
  made.cause_sequence = cause;
  made.time_ns = 1'700'000'000'000'000'001;
  return made;
}

TEST_CASE("derived: the id is epoch, instance, cause and index; the time is the cause's",
          "[unit][log]") {
  Names names;
  Door door(IngestConfig{}, names);
  const auto describer = door.make_describer();
  std::vector<DerivedDraft> drafts{draft(65'537, 1, 2, R"({"x":[1,2]})"),
                                   draft(65'538, 0, 0, "17")};
  drafts[0].correlation_id = "a \"quoted\" one";
  for (std::uint8_t i = 0; i < 16; ++i) drafts[0].trace_id[i] = static_cast<std::uint8_t>(0xA0 + i);
  std::vector<std::string> faults;
  // Its arrival lies centuries before its time: the time is kept all the same.
  const BatchPointer batch = build_derived(drafts, *describer, 0, faults);
  CHECK(faults.empty());
  REQUIRE(batch->events.size() == 2);
  const ephor_event& first = batch->events[0];
  CHECK(batch->ids[0] == identity_hash("ephor/beta", "0a1b2c3d-beta-65537-2"));
  CHECK(batch->ids[1] == identity_hash("ephor/alpha", "0a1b2c3d-alpha-65538-0"));
  CHECK(first.flags == EPHOR_EVENT_DERIVED);
  CHECK(first.time_ns == 1'700'000'000'000'000'001);
  CHECK(names.topics.name(first.topic) == "test.derived");
  CHECK(names.sources.name(first.source) == "ephor/beta");
  CHECK(first.correlation == hash64("a \"quoted\" one"));
  CHECK(std::equal(drafts[0].trace_id.begin(), drafts[0].trace_id.end(), first.trace_id));
  // The parent span is the cause's number with the top bit set: 0x8000000000010001.
  CHECK(nlohmann::json::parse(std::string_view(first.record, first.record_length)) ==
        nlohmann::json{{"specversion", "1.0"},
                       {"id", "0a1b2c3d-beta-65537-2"},
                       {"source", "ephor/beta"},
                       {"type", "test.derived"},
                       {"time", "2023-11-14T22:13:20.000000001Z"},
                       {"correlationid", "a \"quoted\" one"},
                       {"traceparent", "00-a0a1a2a3a4a5a6a7a8a9aaabacadaeaf-8000000000010001-01"},
                       {"data", {{"x", {1, 2}}}}});
  CHECK(std::binary_search(batch->join_keys.begin(), batch->join_keys.end(),
                           join_key(JoinKind::correlation, first.correlation)));
}

TEST_CASE("derived: a bad one is reported and left out, the others are kept", "[unit][log]") {
  Names names;
  Door door(IngestConfig{}, names);
  const auto describer = door.make_describer();
  const std::vector<DerivedDraft> drafts{draft(1, 0, 0), draft(1, 0, 1, "{broken"), draft(1, 0, 2)};
  std::vector<std::string> faults;
  const BatchPointer batch = build_derived(drafts, *describer, 0, faults);
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].find("test.derived") != std::string::npos);
  REQUIRE(batch->ids.size() == 2);
  CHECK(batch->ids[1] == identity_hash("ephor/alpha", "0a1b2c3d-alpha-1-2"));
}

TEST_CASE("derived: ordered by cause, then instance, then index", "[unit][log]") {
  std::vector<DerivedDraft> ordered;
  for (const std::uint64_t cause : {3, 7}) {
    for (const std::uint32_t order : {0, 1, 2}) {
      for (const std::uint32_t index : {0, 1}) ordered.push_back(draft(cause, order, index));
    }
  }
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    for (std::size_t j = 0; j < ordered.size(); ++j) {
      CHECK(comes_before(ordered[i], ordered[j]) == (i < j));
    }
  }
}

// ---- times ------------------------------------------------------------------------------------

std::int64_t parsed(std::string_view text) {
  const auto time = parse_time(text);
  REQUIRE(time);
  return time->ns;
}

TEST_CASE("times: agree with timegm from 1678 to 2261", "[unit][log]") {
  std::mt19937_64 random(11);
  std::uniform_int_distribution<std::int64_t> second(-9'214'560'000, 9'214'646'399);
  std::uniform_int_distribution<std::int64_t> fraction(0, kSecond - 1);
  bool is_same = true;
  for (int i = 0; i < 20'000 && is_same; ++i) {
    const std::time_t at = second(random);
    const std::int64_t part = i % 3 == 0 ? 0 : fraction(random);
    std::tm civil{};
    gmtime_r(&at, &civil);
    if (civil.tm_year + 1900 < 1678 || civil.tm_year + 1900 > 2261) continue;
    std::array<char, 64> date{};
    std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &civil);
    std::string text(date.data());
    if (part != 0) {
      const std::string digits = std::to_string(part);
      text += "." + std::string(9 - digits.size(), '0') + digits;
    }
    const std::int64_t ns = static_cast<std::int64_t>(timegm(&civil)) * kSecond + part;
    const auto naive = parse_time(text);
    const auto zoned = parse_time(text + "Z");
    is_same = naive && zoned && naive->ns == ns && zoned->ns == ns && naive->is_naive &&
              !zoned->is_naive && format_time(ns) == text + "Z";
    INFO(text << " " << ns << " " << format_time(ns));
    CHECK(is_same);
  }
}

TEST_CASE("times: zones, fractions and spellings", "[unit][log]") {
  const std::int64_t base = 1'700'000'000 * kSecond;  // 2023-11-14T22:13:20Z
  for (const char* text :
       {"2023-11-14T22:13:20Z", "2023-11-14t22:13:20z", "2023-11-14 22:13:20Z",
        "2023-11-14T23:13:20+01:00", "2023-11-15T03:43:20+05:30", "2023-11-14T14:13:20-08:00",
        "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20-00:00"}) {
    INFO(text);
    CHECK(parsed(text) == base);
    CHECK_FALSE(parse_time(text)->is_naive);
  }
  CHECK(parsed("2023-11-14T22:13:20.5Z") == base + kSecond / 2);
  CHECK(parsed("2023-11-14T22:13:20.123456789Z") == base + 123'456'789);
  CHECK(parsed("2023-11-14T22:13:20.1234567899999Z") == base + 123'456'789);  // cut, not rounded
  CHECK(parsed("1969-12-31T23:59:59.25Z") == -kSecond * 3 / 4);
  CHECK(format_time(-kSecond * 3 / 4) == "1969-12-31T23:59:59.250000000Z");
  CHECK(parsed("2016-12-31T23:59:60Z") == parsed("2017-01-01T00:00:00Z"));  // a leap second
  CHECK(parse_time("2023-11-14T22:13:20")->is_naive);
  CHECK(parse_time("2023-11-14")->is_naive);
  CHECK(parsed("2023-11-14") == parsed("2023-11-14T00:00:00Z"));
  CHECK(parsed("2000-02-29") + 86'400 * kSecond == parsed("2000-03-01"));
  CHECK(parsed("2024-02-29") + 86'400 * kSecond == parsed("2024-03-01"));
}

TEST_CASE("times: what is no time is refused", "[unit][log]") {
  for (const char* text : {"",
                           "now",
                           " 2024-01-01",
                           "2024-01-01 ",
                           "2024-1-01",
                           "24-01-01",
                           "2024-00-01",
                           "2024-13-01",
                           "2024-01-00",
                           "2024-04-31",
                           "2023-02-29",
                           "2100-02-29",
                           "2024-01-01T",
                           "2024-01-01T24:00:00Z",
                           "2024-01-01T00:60:00Z",
                           "2024-01-01T00:00:61Z",
                           "2024-01-01T00:00:00.Z",
                           "2024-01-01T00:00:00+24:00",
                           "2024-01-01T00:00:00+01:60",
                           "2024-01-01T00:00:00+1",
                           "2024-01-01T00:00:00ZZ",
                           "2024-01-01T00:00:00 Z",
                           "2024/01/01",
                           "1677-12-31T00:00:00Z",
                           "2262-01-01T00:00:00Z",
                           "1700000000",
                           "2024-01-01T00:00:00Zjunk",
                           "-024-01-01"}) {
    INFO(text);
    CHECK_FALSE(parse_time(text));
  }
}

}  // namespace
}  // namespace ephor::host
