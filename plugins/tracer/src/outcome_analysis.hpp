// SPDX-License-Identifier: Apache-2.0
//
// Which traces led to which outcomes: the latency of a trace, and of each component in it, beside
// the profit and the slippage of the trade that came of it, or the return that was realised.
//
// P&L and slippage are the trade events' own fields; what a trade lacks is missing here, and
// counted. (trade_tracker, which owns trading figures, works P&L out where it is missing; asking it
// would make an answer depend on how far another plugin has read.)
//
// Joins run along the trace id, else correlation id, decision, execution, order and trade id, in
// whatever order the events come. An id belongs to the trace it was first seen with.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "trace_assembler.hpp"

namespace ephor::tracer {

// How long a trace took, and how much of it each component spent itself.
struct TraceLatency {
  std::array<std::uint8_t, 16> trace_id{};
  std::int64_t time_ns = 0;  // event time of the root, else of the last span
  std::int64_t total_ns = 0;
  std::vector<std::pair<std::uint32_t, std::int64_t>> components;  // index, self time; sorted
};

// What came of a trace.
struct TraceOutcome {
  std::string trade_id;  // empty: a realised return without a trade
  std::int64_t time_ns = 0;
  bool is_closed = false;
  std::optional<double> pnl;
  std::optional<double> slippage;
  double return_sum = 0.0;
  std::uint64_t return_count = 0;
  std::vector<std::uint64_t> keys;  // to the trace, the surest first
  std::optional<TraceLatency> trace;

  std::optional<double> realized_return() const {
    if (return_count == 0) return std::nullopt;
    return return_sum / static_cast<double>(return_count);
  }
};

// The ids of an event; empty ones are not there.
struct JoinKeys {
  std::uint64_t trace = 0;        // hash of the trace id
  std::uint64_t correlation = 0;  // hash of the correlation id
  std::string_view decision_id;
  std::string_view execution_id;
  std::string_view order_id;
  std::string_view trade_id;

  std::vector<std::uint64_t> list() const;  // the surest first
};

class OutcomeAnalysis {
 public:
  static constexpr std::size_t kIdBytesMax = 120;

  // `outcomes_max`: trades kept, as many realised returns, and as many finished traces that may yet
  // have one.
  explicit OutcomeAnalysis(std::size_t outcomes_max) : outcomes_max_(outcomes_max) {}

  // A finished trace; `root`: the place of its root.
  void add_trace(std::uint64_t key, std::span<const FinishedSpan> trace,
                 std::optional<std::size_t> root);
  // An event, or a span's attributes, that tell ids apart from any outcome.
  void add_link(const JoinKeys& keys);
  void add_trade(const JoinKeys& keys, bool is_closed, std::optional<double> pnl,
                 std::optional<double> slippage, std::int64_t time_ns);
  void add_return(const JoinKeys& keys, double realized_return, std::int64_t time_ns);

  template <typename Visit>
  void for_each(Visit&& visit) const {  // trades, then returns, each in order of appearance
    for (const auto* order : {&trade_order_, &return_order_}) {
      for (const std::uint64_t key : *order) visit(outcomes_.find(key)->second);
    }
  }
  std::size_t size() const { return outcomes_.size(); }
  std::uint64_t forgotten() const { return forgotten_; }
  std::size_t traces_kept() const { return latencies_.size(); }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  TraceOutcome& outcome_of(std::uint64_t key, std::deque<std::uint64_t>& order);
  void link(std::uint64_t key, std::uint64_t trace);
  std::uint64_t trace_of(std::span<const std::uint64_t> keys) const;
  // Gives the outcome its trace, if that is known by now; else waits for it.
  void resolve(std::uint64_t key, TraceOutcome& outcome);
  void fulfil(std::uint64_t key);
  void forget_interest(std::uint64_t key, const TraceOutcome& outcome);

  std::size_t outcomes_max_;
  std::unordered_map<std::uint64_t, TraceOutcome> outcomes_;
  std::deque<std::uint64_t> trade_order_;
  std::deque<std::uint64_t> return_order_;
  std::unordered_map<std::uint64_t, TraceLatency> latencies_;  // by trace
  std::deque<std::uint64_t> latency_order_;
  std::unordered_map<std::uint64_t, std::uint64_t> links_;  // id to trace
  std::deque<std::uint64_t> link_order_;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> interest_;  // id to outcomes
  std::uint64_t forgotten_ = 0;
};

// What an answer needs beside the outcomes.
struct OutcomeQuestion {
  std::optional<std::int64_t> from_ns;  // of the outcome
  std::optional<std::int64_t> to_ns;
  std::string component;         // empty: the whole trace and every component
  std::size_t buckets = 5;       // of as many trades each
  std::vector<double> edges_ms;  // instead of buckets: borders between them, rising
};
using ComponentNames = std::vector<std::string>;  // by index

// Profit, win rate and slippage by latency. What cannot be said is null, with a reason.
Json pnl_by_latency_json(const OutcomeAnalysis& outcomes, const ComponentNames& components,
                         const OutcomeQuestion& question);
// Spearman's correlation of each component's latency with each outcome, with false discovery rates
// over all of them.
Json performance_correlation_json(const OutcomeAnalysis& outcomes, const ComponentNames& components,
                                  const OutcomeQuestion& question);

}  // namespace ephor::tracer
