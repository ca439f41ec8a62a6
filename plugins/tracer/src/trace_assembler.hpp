// SPDX-License-Identifier: Apache-2.0
//
// Spans in, finished traces out: what each span spent itself (its duration less what its children
// cover of it) and whether a failure began there or was handed up. Spans of a trace may come in any
// order; a trace counts as finished once none of its spans has come for `linger_ns` of event time,
// told by the spans alone, so the same spans in the same order give the same traces whatever the
// slices. Memory is bounded in spans: beyond it the trace that rested longest is finished early.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <limits>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ephor::tracer {

struct OpenSpan {
  std::uint64_t id = 0;      // hash of the span id
  std::uint64_t parent = 0;  // hash of the parent's, 0: none
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t time_ns = 0;       // of its event
  std::uint64_t error_group = 0;  // fingerprint, for failed spans
  std::uint32_t operation = 0;    // index
  std::uint32_t service = 0;      // index
  std::uint32_t component = 0;    // index: spans of one share a clock
  std::uint64_t correlation = 0;  // hash of the correlation id, 0: none
  std::array<std::uint8_t, 16> trace_id{};
  bool is_error = false;
  bool is_async = false;    // nobody waits for it: a consumer of messages
  bool is_running = false;  // told when it began; its end is not known
  bool is_unnamed = false;  // its operation is the one that stands for many
};

struct FinishedSpan {
  static constexpr std::uint32_t kNoOperation = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t kNoParent = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t operation = 0;
  std::uint32_t parent_operation = kNoOperation;
  std::uint32_t parent_at = kNoParent;  // place in the trace
  std::uint32_t service = 0;
  std::uint32_t component = 0;
  std::uint64_t id = 0;
  std::uint64_t parent = 0;
  std::uint64_t trace_priority = 0;  // hash of the trace id
  std::uint64_t correlation = 0;
  std::array<std::uint8_t, 16> trace_id{};
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t time_ns = 0;
  std::int64_t total_ns = 0;
  std::int64_t self_ns = 0;
  std::uint64_t error_group = 0;
  bool is_error = false;
  bool is_error_origin = false;  // failed, and none of its children did
  bool names_parent = false;
  bool is_async = false;
  bool is_running = false;
  bool is_unnamed = false;
};

// Appends what became of the spans of one trace, by start. `spans` is reordered. O(n log n).
void finish_trace(std::vector<OpenSpan>& spans, std::vector<FinishedSpan>& out);

class TraceAssembler {
 public:
  TraceAssembler(std::int64_t linger_ns, std::size_t spans_max)
      : linger_ns_(linger_ns), spans_max_(spans_max) {}

  // `trace`: hash of the trace id, 0: none, then the span stands alone.
  void add(std::uint64_t trace, const OpenSpan& span);
  // Calls `visit(const FinishedSpan&)` for the spans of each trace that is finished by now, or
  // `visit(std::span<const FinishedSpan>)` for the trace.
  template <typename Visit>
  void take_finished(Visit&& visit) {
    while (oldest_ != kNone &&
           (traces_[oldest_].touched_ns < clock_ns_ - linger_ns_ || span_count_ > spans_max_)) {
      take_oldest(visit);
    }
  }
  template <typename Visit>
  void take_all(Visit&& visit) {
    while (oldest_ != kNone) take_oldest(visit);
  }

  // Calls `visit(trace hash, std::span<const OpenSpan>)` for each trace that is not finished, the
  // one that rested longest first.
  template <typename Visit>
  void for_each_open(Visit&& visit) const {
    for (std::uint32_t at = oldest_; at != kNone; at = traces_[at].next) {
      visit(traces_[at].key, std::span<const OpenSpan>(traces_[at].spans));
    }
  }
  std::int64_t clock_ns() const { return clock_ns_; }

  std::size_t span_count() const { return span_count_; }
  std::uint64_t finished_early() const { return finished_early_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);  // into an empty one; throws ephor::Error

 private:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  struct Trace {
    std::uint64_t key = 0;
    std::int64_t touched_ns = 0;  // the clock when its last span came
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    std::vector<OpenSpan> spans;
  };

  template <typename Visit>
  void take_oldest(Visit&& visit) {
    if (span_count_ > spans_max_) ++finished_early_;
    finished_.clear();
    finish_oldest();
    if constexpr (std::is_invocable_v<Visit&, std::span<const FinishedSpan>>) {
      visit(std::span<const FinishedSpan>(finished_));
    } else {
      for (const FinishedSpan& span : finished_) visit(span);
    }
  }
  void finish_oldest();
  std::uint32_t open(std::uint64_t key);
  void unlink(std::uint32_t at);
  void append(std::uint32_t at);

  std::int64_t linger_ns_;
  std::size_t spans_max_;
  std::int64_t clock_ns_ = std::numeric_limits<std::int64_t>::min() / 2;  // latest event time
  std::vector<Trace> traces_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::uint64_t, std::uint32_t> index_;
  std::uint32_t oldest_ = kNone;  // a list by touched_ns
  std::uint32_t newest_ = kNone;
  std::size_t span_count_ = 0;
  std::uint64_t finished_early_ = 0;
  std::uint64_t lone_ = 0;              // numbers spans without a trace
  std::vector<FinishedSpan> finished_;  // scratch
};

}  // namespace ephor::tracer
