// SPDX-License-Identifier: Apache-2.0
//
// Who calls whom, how often, how fast and with how many failures: figures per service, per pair of
// calling and called service, and per pair of calling and called operation. Services are counted as
// spans come; calls when their trace is finished, because only then caller and callee are known.
// The figures of a call are those of the called span, at the time of its event.
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "red_table.hpp"
#include "trace_assembler.hpp"

namespace ephor::tracer {

struct GraphLimits {
  std::size_t services_max = 256;
  std::size_t edges_max = 1024;  // of services, and as many of operations
};

class ServiceGraph {
 public:
  explicit ServiceGraph(GraphLimits limits)
      : services_(limits.services_max),
        service_edges_(limits.edges_max),
        operation_edges_(limits.edges_max) {}

  // Counts a span for its service; the service's index.
  std::uint32_t add_span(std::string_view service, std::int64_t time_ns, std::int64_t duration_ns,
                         std::uint16_t bin, bool is_error, const Exemplar& exemplar);
  std::uint32_t service_index(std::string_view service) { return services_.index_of(service, {}); }
  // Counts the calls and the self times of a finished trace. `operations`: names of the indices.
  void add_trace(std::span<const FinishedSpan> trace, const RedTable& operations);

  const RedTable& services() const { return services_; }                // (service, "")
  const RedTable& service_edges() const { return service_edges_; }      // two different services
  const RedTable& operation_edges() const { return operation_edges_; }  // "component\noperation"
  std::uint64_t spans_without_parent() const { return spans_without_parent_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  RedTable services_;
  RedTable service_edges_;
  RedTable operation_edges_;
  // Indices by both ends; what a table's names say, only faster.
  std::unordered_map<std::uint64_t, std::uint32_t> service_edge_of_;
  std::unordered_map<std::uint64_t, std::uint32_t> operation_edge_of_;
  std::uint64_t spans_without_parent_ = 0;  // named one that was not in the finished trace
};

// The name of an end of operation_edges(), and back.
std::string edge_end(const std::string& component, const std::string& operation);
std::pair<std::string, std::string> names_of_end(const std::string& end);

}  // namespace ephor::tracer
