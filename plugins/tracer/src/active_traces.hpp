// SPDX-License-Identifier: Apache-2.0
//
// Traces that are not whole: a span of theirs is running, a parent was named that has not come, or
// no root has come. What a trace rested with is kept until the missing arrives, or `timeout_ns` of
// event time has passed since its first span began; then it counts as timed out and is kept as an
// example. Driven by the events' times alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <map>
#include <set>
#include <span>
#include <unordered_set>
#include <utility>

#include "trace_assembler.hpp"

namespace ephor::tracer {

struct ActiveTrace {
  static constexpr std::size_t kIdsMax = 16;    // of missing and of running spans, each
  static constexpr std::size_t kSeenMax = 256;  // beyond it, no parent is said to be missing

  std::array<std::uint8_t, 16> trace_id{};
  std::int64_t start_ns = 0;      // earliest start of a span
  std::int64_t last_seen_ns = 0;  // event time of its latest span
  std::uint64_t span_count = 0;
  std::uint32_t operation = 0;         // of the root, else of the earliest span
  std::int64_t operation_rank_ns = 0;  // start of that span
  bool has_root = false;
  // Not exact beyond kIdsMax: then it is never whole, and times out.
  bool has_more = false;
  std::set<std::uint64_t> seen;     // spans that ended
  std::set<std::uint64_t> missing;  // parents that were named
  std::set<std::uint64_t> running;  // spans without an end

  bool is_whole() const { return has_root && missing.empty() && running.empty() && !has_more; }
};

class ActiveTraces {
 public:
  static constexpr std::size_t kTimedOutKept = 100;
  static constexpr std::size_t kWholeKept = 20'000;

  // `traces_max`: beyond it the one that began first is given up and counted.
  ActiveTraces(std::int64_t timeout_ns, std::size_t traces_max)
      : timeout_ns_(timeout_ns), traces_max_(traces_max) {}

  // A trace that rested, for the first time or, with spans that came late, again.
  void add_trace(std::uint64_t key, std::span<const FinishedSpan> trace, std::int64_t now_ns);
  // What has waited for too long is over. O(log n) unless something is.
  void expire(std::int64_t now_ns);

  // By key; rested, but not whole.
  const std::map<std::uint64_t, ActiveTrace>& waiting() const { return waiting_; }
  const std::deque<ActiveTrace>& timed_out_latest() const { return timed_out_; }
  std::uint64_t timed_out() const { return timed_out_count_; }
  std::uint64_t completed_late() const { return completed_late_; }  // whole only after a rest
  std::uint64_t given_up() const { return given_up_; }
  std::int64_t timeout_ns() const { return timeout_ns_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  using Waiting = std::map<std::uint64_t, ActiveTrace>;
  void erase(Waiting::iterator at);
  void remember_whole(std::uint64_t key);

  std::int64_t timeout_ns_;
  std::size_t traces_max_;
  Waiting waiting_;
  std::set<std::pair<std::int64_t, std::uint64_t>> by_start_;
  // Latest traces that were whole, so that what comes behind them is not taken for a new one.
  std::deque<std::uint64_t> whole_order_;
  std::unordered_set<std::uint64_t> whole_;
  std::deque<ActiveTrace> timed_out_;
  std::uint64_t timed_out_count_ = 0;
  std::uint64_t completed_late_ = 0;
  std::uint64_t given_up_ = 0;
};

// Adds spans of a trace to what is known of it.
void add_spans(ActiveTrace& into, std::span<const FinishedSpan> spans);

}  // namespace ephor::tracer
