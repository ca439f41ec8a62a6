// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "trace_assembler.hpp"

namespace {

using namespace ephor::tracer;

OpenSpan span(std::uint64_t id, std::uint64_t parent, std::int64_t start, std::int64_t end,
              bool is_error = false, std::int64_t time = 0) {
  OpenSpan out;
  out.id = id;
  out.parent = parent;
  out.start_ns = start;
  out.end_ns = end;
  out.time_ns = time == 0 ? end : time;
  out.operation = static_cast<std::uint32_t>(id);
  out.is_error = is_error;
  return out;
}

using Told = std::map<std::uint32_t, std::tuple<std::int64_t, std::int64_t, bool, std::uint32_t>>;

Told finish(std::vector<OpenSpan> spans) {
  std::vector<FinishedSpan> out;
  finish_trace(spans, out);
  Told told;
  for (const FinishedSpan& done : out) {
    told[done.operation] = {done.total_ns, done.self_ns, done.is_error_origin,
                            done.parent_operation};
  }
  return told;
}

constexpr auto kNo = FinishedSpan::kNoOperation;

}  // namespace

TEST_CASE("assembler: self time is what no child covers", "[unit][tracing]") {
  // Root 0..100; children 10..40 and 30..60 overlap (cover 50), 80..120 outlives it (covers 20),
  // a grandchild 15..25 is its parent's.
  const std::vector<OpenSpan> spans{span(1, 0, 0, 100), span(2, 1, 10, 40), span(3, 1, 30, 60),
                                    span(4, 1, 80, 120), span(5, 2, 15, 25)};
  const Told expected{{1, {100, 30, false, kNo}},
                      {2, {30, 20, false, 1}},
                      {3, {30, 30, false, 1}},
                      {4, {40, 40, false, 1}},
                      {5, {10, 10, false, 2}}};
  std::vector<OpenSpan> shuffled = spans;
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    REQUIRE(finish(shuffled) == expected);
    std::shuffle(shuffled.begin(), shuffled.end(), random);
  }
}

TEST_CASE("assembler: a failure belongs to the deepest span that failed", "[unit][tracing]") {
  // 3 fails and hands it up to 2 and 1; 4 fails, but its parent 2 had failed anyway; 5 is caught.
  const Told told =
      finish({span(1, 0, 0, 100, true), span(2, 1, 0, 90, true), span(3, 2, 10, 20, true),
              span(4, 2, 30, 40, true), span(6, 1, 90, 99), span(5, 6, 91, 92, true)});
  std::vector<std::uint32_t> origins;
  for (const auto& [operation, figures] : told) {
    if (std::get<2>(figures)) origins.push_back(operation);
  }
  REQUIRE(origins == std::vector<std::uint32_t>{3, 4, 5});
}

TEST_CASE("assembler: unknown parents, itself as parent and many spans", "[unit][tracing]") {
  REQUIRE(finish({span(1, 9, 0, 10)}) == Told{{1, {10, 10, false, kNo}}});
  REQUIRE(finish({span(1, 1, 0, 10)}) == Told{{1, {10, 10, false, kNo}}});
  // A fan of 500 children of 2 ns each, side by side, under a root of 2000 ns.
  std::vector<OpenSpan> fan{span(1, 0, 0, 2000)};
  for (std::uint64_t i = 0; i < 500; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    fan.push_back(span(i + 2, 1, 3 * at, 3 * at + 2));
  }
  REQUIRE(std::get<1>(finish(fan)[1]) == 1000);
}

TEST_CASE("assembler: a trace is finished when it has rested", "[unit][tracing]") {
  TraceAssembler assembler(100, 1000);
  std::vector<std::uint32_t> done;
  const auto take = [&](const FinishedSpan& finished) { done.push_back(finished.operation); };
  assembler.add(7, span(2, 1, 0, 10));
  assembler.add(8, span(3, 0, 0, 50));
  assembler.add(7, span(1, 0, 0, 60));
  assembler.take_finished(take);
  REQUIRE(done.empty());
  assembler.add(9, span(4, 0, 150, 155));  // 8 rested 105, 7 only 95
  assembler.take_finished(take);
  REQUIRE(done == std::vector<std::uint32_t>{3});
  assembler.add(0, span(5, 0, 155, 300));  // no trace: one of its own
  assembler.take_finished(take);
  REQUIRE(done == std::vector<std::uint32_t>{3, 1, 2, 4});
  std::string state;
  ephor::StateWriter out(state);
  assembler.write(out);
  TraceAssembler read(100, 1000);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  read.take_all(take);
  REQUIRE(done.back() == 5);
  REQUIRE(read.span_count() == 0);
}

TEST_CASE("assembler: beyond the bound the one that rested longest goes early", "[unit][tracing]") {
  TraceAssembler assembler(1'000'000, 10);
  std::size_t done = 0;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    assembler.add(i, span(i, 0, 0, 1));
    assembler.take_finished([&](const FinishedSpan&) { ++done; });
    REQUIRE(assembler.span_count() <= 10);
  }
  REQUIRE(done == 90);
  REQUIRE(assembler.finished_early() == 90);
}
