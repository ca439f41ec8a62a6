// SPDX-License-Identifier: Apache-2.0
//
// The questions about single traces: search, one trace, Jaeger's query API.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "service_catalog.hpp"
#include "service_graph.hpp"
#include "story.hpp"
#include "trace_archive.hpp"
#include "trace_search.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

// Appends what the journal holds of `id`, each event once. False if `events_max` was met.
bool collect_events(const Host& host, std::string_view id, std::string_view via,
                    std::size_t events_max, std::set<std::uint64_t>& known,
                    std::vector<StoryEvent>& events);

class TraceQueries {
 public:
  // All outlive this object.
  TraceQueries(const Host& host, TraceStore& traces, const ServiceCatalog& catalog,
               const ServiceGraph& graph, const TraceArchive& archive,
               std::vector<std::string> join_attributes);

  void provide();  // [control] routes and queries

  // The trace's events: of the journal, and of the archive where the journal lacks some.
  // `is_complete`: false if a bound was met.
  std::vector<StoryEvent> events_of_trace(const TraceId& id, bool* is_complete = nullptr);

 private:
  std::string answer_search(const Json& request);
  std::string answer_trace(const Json& request);
  std::string answer_services() const;
  std::string answer_operations(const Json& request) const;
  std::string answer_operation_names(const Json& request) const;
  std::string answer_jaeger_trace(const Json& request);
  std::string answer_jaeger_search(const Json& request);
  std::string answer_dependencies(const Json& request) const;

  const Host& host_;
  TraceStore& traces_;
  const ServiceCatalog& catalog_;
  const ServiceGraph& graph_;
  const TraceArchive& archive_;
  TraceSource source_;
};

}  // namespace ephor::tracer
