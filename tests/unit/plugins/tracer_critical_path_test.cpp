// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "critical_path.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;

namespace {

// The definition, word for word and slowly: stand at the end of a part of a span and look for the
// child that ended last before; there its own part begins; go on from where it began.
void walk(const std::vector<PathSpan>& spans, std::size_t at, std::int64_t from, std::int64_t until,
          std::vector<std::int64_t>& own) {
  while (true) {
    std::size_t best = spans.size();
    std::int64_t best_end = 0;
    for (std::size_t i = 0; i < spans.size(); ++i) {
      const PathSpan& child = spans[i];
      if (child.parent != at || i == at || child.is_async || child.start_ns >= until) continue;
      std::int64_t end = child.end_ns;
      if (end > spans[at].end_ns) {
        if (child.clock == spans[at].clock) continue;
        end = spans[at].end_ns;
      }
      if (end > until || end <= from) continue;
      const bool is_later = best == spans.size() || child.end_ns > spans[best].end_ns ||
                            (child.end_ns == spans[best].end_ns && child.tie > spans[best].tie);
      if (!is_later) continue;
      best = i;
      best_end = end;
    }
    if (best == spans.size()) break;
    own[at] += until - best_end;
    const std::int64_t begin = std::max(spans[best].start_ns, from);
    walk(spans, best, begin, best_end, own);
    until = begin;
  }
  own[at] += until - from;
}

std::vector<PathSpan> random_spans(std::mt19937_64& random) {
  std::vector<PathSpan> spans(1 + random() % 25);
  for (std::size_t i = 0; i < spans.size(); ++i) {
    spans[i].tie = i;
    spans[i].clock = random() % 3;
    if (i == 0) {
      spans[i].end_ns = 100;
      continue;
    }
    spans[i].parent = random() % i;
    spans[i].start_ns = static_cast<std::int64_t>(random() % 110) - 5;
    spans[i].end_ns = spans[i].start_ns + static_cast<std::int64_t>(random() % 60);
    spans[i].is_async = random() % 10 == 0;
  }
  return spans;
}

FinishedSpan finished(std::uint32_t operation, std::uint32_t parent_at, std::int64_t start,
                      std::int64_t end, std::int64_t time) {
  FinishedSpan out;
  out.operation = operation;
  out.component = operation;
  out.id = operation + 1;
  out.parent_at = parent_at;
  out.names_parent = parent_at != FinishedSpan::kNoParent;
  out.start_ns = start;
  out.end_ns = end;
  out.total_ns = end - start;
  out.time_ns = time;
  return out;
}

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kMinute = 60'000'000'000;
constexpr std::int64_t kDay = 86'400'000'000'000;
constexpr std::int64_t kStart = 19'700 * kDay;

// Root 0 with child 1 (fixed work), and child 2, which takes all that is beyond 10 ms.
std::vector<FinishedSpan> made_trace(std::int64_t total_ms, std::int64_t time_ns) {
  const std::int64_t end = time_ns;
  const std::int64_t start = end - total_ms * kMs;
  return {finished(0, FinishedSpan::kNoParent, start, end, time_ns),
          finished(1, 0, start + kMs, start + 5 * kMs, time_ns),
          finished(2, 0, start + 6 * kMs, end - 2 * kMs, time_ns)};
}

std::string state_of(const CriticalPaths& paths) {
  std::string out;
  ephor::StateWriter writer(out);
  paths.write(writer);
  return out;
}

}  // namespace

TEST_CASE("critical path: is what the definition says, and sums to the root's duration",
          "[unit][tracing]") {
  std::mt19937_64 random(1);
  CriticalPathFinder finder;
  for (int round = 0; round < 5000; ++round) {
    const std::vector<PathSpan> spans = random_spans(random);
    std::vector<std::int64_t> expected(spans.size());
    walk(spans, 0, spans[0].start_ns, spans[0].end_ns, expected);
    const std::vector<std::int64_t>& own = finder.find(spans, 0);
    REQUIRE(own == expected);
    std::int64_t sum = 0;
    for (const std::int64_t ns : own) sum += ns;
    REQUIRE(sum == 100);
  }
}

TEST_CASE("critical path: clocks that differ, children that outlive, parallel children",
          "[unit][tracing]") {
  CriticalPathFinder finder;
  constexpr auto kNone = PathSpan::kNone;
  // Of another component and 3 beyond the parent's end: the clock; it explains 40 to 100.
  std::vector<PathSpan> spans{{0, 100, kNone, 1, 0, false}, {40, 103, 0, 2, 1, false}};
  REQUIRE(finder.find(spans, 0) == std::vector<std::int64_t>{40, 60});
  // The same on the parent's clock was not waited for.
  spans[1].clock = 1;
  REQUIRE(finder.find(spans, 0) == std::vector<std::int64_t>{100, 0});
  // A consumer is not waited for, wherever it runs.
  spans[1] = {40, 90, 0, 2, 1, true};
  REQUIRE(finder.find(spans, 0) == std::vector<std::int64_t>{100, 0});
  // Two side by side: the longer one is the path. One that ended before it began is on it too.
  spans = {{0, 100, kNone, 1, 0, false},
           {50, 80, 0, 1, 1, false},
           {40, 90, 0, 1, 2, false},
           {10, 30, 0, 1, 3, false}};
  REQUIRE(finder.find(spans, 0) == std::vector<std::int64_t>{30, 0, 50, 20});
  REQUIRE(finder.is_on_path() == std::vector<char>{1, 0, 1, 1});
}

TEST_CASE("critical paths: cohorts and shares, against all traces kept", "[unit][tracing]") {
  std::mt19937_64 random(2);
  struct Kept {
    std::int64_t total_ms;
    std::int64_t time_ns;
  };
  std::vector<Kept> kept;
  for (int i = 0; i < 4000; ++i) {
    kept.push_back({10 + static_cast<std::int64_t>(random() % 20) +
                        (random() % 50 == 0 ? 100 + static_cast<std::int64_t>(random() % 300) : 0),
                    kStart + static_cast<std::int64_t>(random() % (90 * kMinute))});
  }
  CriticalPaths paths(4);
  for (const Kept& one : kept) paths.add_trace(made_trace(one.total_ms, one.time_ns));
  const double log_gamma = std::log(1.01 / 0.99);
  for (const double q : {0.5, 0.9, 0.99}) {
    for (const auto& [from, to] : {std::pair(kStart, kStart + 90 * kMinute),
                                   std::pair(kStart + 7 * kMinute, kStart + 31 * kMinute)}) {
      std::vector<double> durations;
      for (const Kept& one : kept) {
        if (one.time_ns >= from && one.time_ns < to)
          durations.push_back(static_cast<double>(one.total_ms * kMs));
      }
      std::sort(durations.begin(), durations.end());
      const double at_rank =
          durations[static_cast<std::size_t>(q * static_cast<double>(durations.size() - 1))];
      // Buckets are four bins of the sketch, bin i is (gamma^(i-1), gamma^i], bins begin at -32768.
      const auto bucket = [&](double ns) {
        return (static_cast<std::int64_t>(std::ceil(std::log(ns) / log_gamma)) + 32'768) / 4;
      };
      std::uint64_t traces[2] = {};
      std::uint64_t shares[2][3] = {};
      for (const Kept& one : kept) {
        if (one.time_ns < from || one.time_ns >= to) continue;
        const bool is_slow = bucket(static_cast<double>(one.total_ms * kMs)) >= bucket(at_rank);
        std::uint64_t(&share)[3] = shares[is_slow ? 0 : 1];
        ++traces[is_slow ? 0 : 1];
        share[1] += 4 * kMs;
        share[2] += static_cast<std::uint64_t>(one.total_ms - 8) * kMs;
        share[0] += 4 * kMs;
      }
      const auto found = paths.ask(0, from, to, q);
      REQUIRE(found);
      REQUIRE(found->from_ns == from);
      REQUIRE(found->to_ns == to);
      REQUIRE(found->slow.traces == traces[0]);
      REQUIRE(found->rest.traces == traces[1]);
      REQUIRE(found->threshold_ns < at_rank);
      REQUIRE(found->threshold_ns > at_rank / 1.09);
      for (std::uint32_t operation = 0; operation < 3; ++operation) {
        REQUIRE(found->slow.shares[operation].operation == operation);
        REQUIRE(found->slow.shares[operation].ns == shares[0][operation]);
        REQUIRE(found->rest.shares[operation].ns == shares[1][operation]);
        REQUIRE(found->slow.shares[operation].traces == traces[0]);
      }
    }
  }
}

TEST_CASE("critical paths: neither order nor a restart nor questions in between show",
          "[unit][tracing]") {
  std::mt19937_64 random(3);
  std::vector<std::vector<FinishedSpan>> traces;
  for (int i = 0; i < 600; ++i) {
    traces.push_back(made_trace(10 + static_cast<std::int64_t>(random() % 90),
                                kStart + static_cast<std::int64_t>(random() % (30 * kDay))));
  }
  const auto by_time = [](const auto& a, const auto& b) {
    return a.front().time_ns < b.front().time_ns;
  };
  std::sort(traces.begin(), traces.end(), by_time);
  CriticalPaths straight(4);
  for (const auto& trace : traces) straight.add_trace(trace);
  const std::string expected = state_of(straight);
  for (int round = 0; round < 4; ++round) {
    std::shuffle(traces.begin(), traces.end(), random);
    auto paths = std::make_unique<CriticalPaths>(4);
    for (std::size_t i = 0; i < traces.size(); ++i) {
      paths->add_trace(traces[i]);
      if (i % 97 != 5) continue;
      paths->ask(0, std::nullopt, std::nullopt, 0.9);
      const std::string state = state_of(*paths);
      paths = std::make_unique<CriticalPaths>(4);
      REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { paths->read(in); }));
    }
    REQUIRE(state_of(*paths) == expected);
  }
}

TEST_CASE("critical paths: what has no root, or one too many, is counted", "[unit][tracing]") {
  CriticalPaths paths(1);
  paths.add_trace(made_trace(20, kStart));
  auto orphan = made_trace(20, kStart);
  orphan[0].names_parent = true;
  paths.add_trace(orphan);
  REQUIRE_FALSE(paths.latest_root());
  auto other = made_trace(20, kStart);
  other[0].operation = 7;
  paths.add_trace(other);
  REQUIRE(paths.latest_root() == 0);
  REQUIRE(paths.without_root() == 1);
  REQUIRE(paths.beyond_roots() == 1);
  REQUIRE(paths.ask(0, std::nullopt, std::nullopt, 0.5)->slow.traces == 1);
  REQUIRE_FALSE(paths.ask(7, std::nullopt, std::nullopt, 0.5));
  REQUIRE_FALSE(paths.ask(0, kStart - 5 * kDay, kStart - 4 * kDay, 0.5));
}
