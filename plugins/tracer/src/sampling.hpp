// SPDX-License-Identifier: Apache-2.0
//
// Tail sampling: which traces are kept beyond the journal's retention, decided when a trace has
// rested. Kept are traces that failed, that are slow for one of their operations, that took a path
// seldom seen, that belong to a losing trade, and a share of the rest, consistent by trace id.
//
// Everything is told by the spans in their order: the same log gives the same decisions whatever
// the slices. Figures per operation are counted elsewhere, before any of this, and stay exact.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <limits>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sketch.hpp"
#include "trace_summary.hpp"

namespace ephor::tracer {

struct RateRule {  // for traces with such a span; empty parts match any
  std::string service;
  std::string component;
  std::string operation;
  std::string symbol;
  double rate = 1.0;
};

struct SamplingSettings {
  bool is_tail = false;
  double baseline_rate = 0.05;
  std::vector<RateRule> rates;  // of several that match a trace, the greatest counts
  bool keeps_errors = true;
  double slow_factor = 1.5;            // of the operation's p99; 0: off
  std::uint64_t slow_spans_min = 200;  // of an operation before it has a p99
  std::uint64_t rare_path_below = 5;   // 0: off
  bool keeps_losing_trades = true;
  std::int64_t losing_trade_ns = 86'400'000'000'000;  // how long before the trade a trace may be
  std::int64_t linger_ns = 10'000'000'000;
  std::size_t open_spans_max = 20'000;
  bool archives = true;
  std::size_t archived_traces_max = 100'000;
};

struct TailSpan {
  std::uint64_t trace = 0;  // number
  TraceId id{};
  std::string_view service;
  std::string_view component;
  std::string_view operation;
  std::string_view symbol;
  std::int64_t time_ns = 0;  // of its event
  std::int64_t duration_ns = 0;
  bool is_error = false;
  std::vector<std::uint64_t> id_hashes;  // of what a trade may share with it
};

class TailSampler {
 public:
  static constexpr std::size_t kPathsMax = 65'536;
  static constexpr std::size_t kOperationsMax = 4096;
  static constexpr std::size_t kOperationsPerPathMax = 64;
  static constexpr std::size_t kLosingIdsMax = 100'000;

  explicit TailSampler(SamplingSettings settings);

  // A span of a trace that is not decided yet.
  void add(const TailSpan& span);
  // A trade lost money: traces with one of these ids that are still open, or come, are kept.
  void add_losing_ids(const std::vector<std::uint64_t>& id_hashes);

  struct Decision {
    std::uint64_t trace = 0;
    Verdict verdict = Verdict::none;
    Reason reason = Reason::none;
  };
  // Calls `visit(Decision)` for each trace that has rested by now, or that the bound pushes out.
  template <typename Visit>
  void take_decided(Visit&& visit) {
    while (!order_.empty() &&
           (open_.at(order_.front()).touched_ns < clock_ns_ - settings_.linger_ns ||
            span_count_ > settings_.open_spans_max)) {
      decided_early_ += span_count_ > settings_.open_spans_max ? 1 : 0;
      visit(decide_oldest());
    }
  }
  template <typename Visit>
  void take_all(Visit&& visit) {
    while (!order_.empty()) visit(decide_oldest());
  }
  bool is_open(std::uint64_t trace) const { return open_.contains(trace); }

  const SamplingSettings& settings() const { return settings_; }
  std::uint64_t decided_early() const { return decided_early_; }
  std::uint64_t paths_left_out() const { return paths_left_out_; }
  // How many traces were decided so, by verdict and reason.
  std::uint64_t count(Reason reason) const { return counts_[static_cast<std::size_t>(reason)]; }
  std::uint64_t dropped() const { return dropped_; }
  std::size_t open_count() const { return open_.size(); }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct OpenTrace {
    TraceId id{};
    std::int64_t touched_ns = 0;
    std::uint64_t span_count = 0;
    double rate = -1.0;  // of the rules; below 0: none matched
    bool is_error = false;
    bool is_slow = false;
    bool is_losing = false;
    std::vector<std::uint64_t> operations;  // hashes, sorted, distinct
    std::vector<std::uint64_t> ids;         // hashes a trade may share
    std::list<std::uint64_t>::iterator place;
  };
  // p99 of an operation's durations, taken anew whenever a tenth more of them has come. What was
  // slow is kept apart, or it would soon be the p99 itself; once it is more than one in twenty it
  // is the new normal.
  struct Latency {
    Sketch durations_ns{512};
    Sketch slow_ns{512};
    double p99_ns = std::numeric_limits<double>::infinity();
    std::uint64_t seen = 0;
    std::uint64_t next_at = 0;
  };

  bool is_slow(std::uint64_t operation, std::int64_t duration_ns);
  double rate_of(const TailSpan& span) const;
  bool is_rare(const OpenTrace& trace);
  Decision decide_oldest();

  SamplingSettings settings_;
  std::int64_t clock_ns_ = std::numeric_limits<std::int64_t>::min() / 2;
  std::unordered_map<std::uint64_t, OpenTrace> open_;  // by number
  std::list<std::uint64_t> order_;                     // by touched_ns, longest at rest first
  std::size_t span_count_ = 0;
  std::unordered_map<std::uint64_t, Latency> latencies_;
  std::unordered_map<std::uint64_t, std::uint64_t> paths_;  // fingerprint -> traces
  std::unordered_set<std::uint64_t> losing_;
  std::deque<std::uint64_t> losing_order_;  // the oldest make room
  std::array<std::uint64_t, 8> counts_{};
  std::uint64_t dropped_ = 0;
  std::uint64_t decided_early_ = 0;
  std::uint64_t paths_left_out_ = 0;
};

}  // namespace ephor::tracer
