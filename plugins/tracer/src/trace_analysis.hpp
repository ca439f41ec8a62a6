// SPDX-License-Identifier: Apache-2.0
//
// What the traces say together: service graph, critical paths, traces that are not whole, latency
// beside outcome. The plugin hands it spans as they come, traces as they finish, and the events of
// trading; it knows nothing of routes or the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/events.hpp>
#include <ephor/state.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "active_traces.hpp"
#include "critical_path.hpp"
#include "outcome_analysis.hpp"
#include "service_graph.hpp"
#include "trace_summary.hpp"

namespace ephor::tracer {

struct AnalysisSettings {
  GraphLimits graph;
  std::size_t root_operations_max = 64;
  std::size_t outcomes_max = 5000;  // 0: latency is not compared with outcomes
  std::size_t active_traces_max = 5000;
  std::int64_t trace_timeout_ns = 300'000'000'000;
};

class TraceAnalysis {
 public:
  explicit TraceAnalysis(const AnalysisSettings& settings)
      : settings_(settings),
        graph_(settings.graph),
        paths_(settings.root_operations_max),
        active_(settings.trace_timeout_ns, settings.active_traces_max),
        outcomes_(settings.outcomes_max) {}

  // A span as it comes. `into`: for the assembler, with its ids, times and operation; gets the
  // rest. `trace_key`: hash of its trace id, 0: none. `bin`: of its duration.
  void add_span(const Span& span, std::uint64_t trace_key, std::uint16_t bin, OpenSpan& into);
  // The ids that its attributes tell.
  void add_ids(std::span<const NamedId> ids, std::uint64_t trace_key);
  // A finished trace. `now_ns`: event time of what is in hand.
  void add_trace(std::span<const FinishedSpan> trace, const RedTable& operations,
                 std::int64_t now_ns);
  // Nothing more will come for now.
  void expire(std::int64_t now_ns) { active_.expire(now_ns); }

  void add_trade(const Trade& trade, std::uint64_t trace_key, const Event& event);
  void add_outcome(const Outcome& outcome, std::uint64_t trace_key, const Event& event);
  // An event whose data tells ids apart: a decision, an order, a fill.
  void add_ids(simdjson::dom::object data, std::uint64_t trace_key, const Event& event);

  const ServiceGraph& graph() const { return graph_; }
  const CriticalPaths& paths() const { return paths_; }
  const ActiveTraces& active() const { return active_; }
  const OutcomeAnalysis& outcomes() const { return outcomes_; }
  const ComponentNames& components() const { return components_; }
  std::uint64_t running_spans() const { return running_spans_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::uint32_t component_index(std::string_view name);

  AnalysisSettings settings_;
  ServiceGraph graph_;
  CriticalPaths paths_;
  ActiveTraces active_;
  OutcomeAnalysis outcomes_;
  ComponentNames components_;
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> component_of_;
  std::vector<std::uint32_t> component_by_operation_;  // 0: not looked up yet, else index + 1
  std::uint64_t running_spans_ = 0;
};

}  // namespace ephor::tracer
