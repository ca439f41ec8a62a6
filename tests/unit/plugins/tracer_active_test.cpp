// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "active_traces.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

OpenSpan span(std::uint64_t id, std::uint64_t parent, std::int64_t start_s,
              bool is_running = false) {
  OpenSpan out;
  out.id = id;
  out.parent = parent;
  out.start_ns = start_s * kSecond;
  out.end_ns = is_running ? out.start_ns : out.start_ns + kSecond;
  out.time_ns = out.end_ns;
  out.operation = static_cast<std::uint32_t>(id);
  out.trace_id[0] = 1;
  out.is_running = is_running;
  return out;
}

std::vector<FinishedSpan> trace(std::vector<OpenSpan> spans) {
  std::vector<FinishedSpan> out;
  finish_trace(spans, out);
  return out;
}

}  // namespace

TEST_CASE("active traces: whole ones are not kept", "[unit][tracing]") {
  ActiveTraces active(60 * kSecond, 10);
  active.add_trace(1, trace({span(1, 0, 10), span(2, 1, 10)}), 20 * kSecond);
  REQUIRE(active.waiting().empty());
  // A straggler of a whole trace names a parent that had come: no reason to wait.
  active.add_trace(1, trace({span(3, 2, 10)}), 30 * kSecond);
  REQUIRE(active.waiting().empty());
  REQUIRE(active.completed_late() == 0);
}

TEST_CASE("active traces: wait for the parent, the root and the end of what runs",
          "[unit][tracing]") {
  ActiveTraces active(60 * kSecond, 10);
  active.add_trace(1, trace({span(3, 2, 11), span(4, 2, 12)}), 20 * kSecond);
  REQUIRE(active.waiting().at(1).missing == std::set<std::uint64_t>{2});
  REQUIRE_FALSE(active.waiting().at(1).has_root);
  REQUIRE(active.waiting().at(1).operation == 3);  // the earliest
  active.add_trace(1, trace({span(2, 1, 10)}), 30 * kSecond);
  REQUIRE(active.waiting().at(1).missing == std::set<std::uint64_t>{1});
  active.add_trace(1, trace({span(1, 0, 10)}), 40 * kSecond);
  REQUIRE(active.waiting().empty());
  REQUIRE(active.completed_late() == 1);

  active.add_trace(2, trace({span(1, 0, 30, true), span(2, 1, 31)}), 41 * kSecond);
  REQUIRE(active.waiting().at(2).running == std::set<std::uint64_t>{1});
  REQUIRE(active.waiting().at(2).missing.empty());
  REQUIRE(active.waiting().at(2).span_count == 1);
  active.add_trace(2, trace({span(1, 0, 30)}), 50 * kSecond);
  REQUIRE(active.waiting().empty());
  REQUIRE(active.completed_late() == 2);
  REQUIRE(active.timed_out() == 0);
}

TEST_CASE("active traces: time out by event time, once, and are told", "[unit][tracing]") {
  ActiveTraces active(60 * kSecond, 10);
  active.add_trace(1, trace({span(2, 1, 10)}), 20 * kSecond);
  active.add_trace(2, trace({span(2, 1, 30)}), 40 * kSecond);
  active.expire(70 * kSecond);
  REQUIRE(active.timed_out() == 0);
  active.expire(70 * kSecond + 1);
  REQUIRE(active.timed_out() == 1);
  REQUIRE(active.waiting().size() == 1);
  REQUIRE(active.timed_out_latest().front().start_ns == 10 * kSecond);
  // What comes behind it is not told again.
  active.add_trace(1, trace({span(3, 1, 12)}), 71 * kSecond);
  active.expire(500 * kSecond);
  REQUIRE(active.timed_out() == 2);
}

TEST_CASE("active traces: the bound gives up the oldest, and state is read back",
          "[unit][tracing]") {
  ActiveTraces active(600 * kSecond, 3);
  for (std::uint64_t key = 1; key <= 5; ++key) {
    active.add_trace(key, trace({span(2, 1, static_cast<std::int64_t>(10 + key))}), 20 * kSecond);
  }
  active.add_trace(9, trace({span(1, 0, 15)}), 20 * kSecond);
  REQUIRE(active.given_up() == 2);
  REQUIRE(active.waiting().size() == 3);
  REQUIRE(active.waiting().begin()->first == 3);
  std::string state;
  ephor::StateWriter out(state);
  active.write(out);
  ActiveTraces read(600 * kSecond, 3);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  for (ActiveTraces* one : {&active, &read}) {
    one->add_trace(4, trace({span(1, 0, 14)}), 21 * kSecond);
    one->add_trace(9, trace({span(7, 1, 15)}), 21 * kSecond);
    one->expire(614 * kSecond);
  }
  REQUIRE(read.completed_late() == active.completed_late());
  REQUIRE(active.completed_late() == 1);
  std::string again[2];
  ephor::StateWriter a(again[0]);
  ephor::StateWriter b(again[1]);
  active.write(a);
  read.write(b);
  REQUIRE(again[0] == again[1]);
}
