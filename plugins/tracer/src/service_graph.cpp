// SPDX-License-Identifier: Apache-2.0
#include "service_graph.hpp"

namespace ephor::tracer {
namespace {

constexpr char kSeparator = '\x1f';

std::uint64_t pair_key(std::uint32_t from, std::uint32_t to) {
  return static_cast<std::uint64_t>(from) << 32 | to;
}

}  // namespace

std::string edge_end(const std::string& component, const std::string& operation) {
  std::string out = component;
  out += kSeparator;
  return out += operation;
}

std::pair<std::string, std::string> names_of_end(const std::string& end) {
  const std::size_t at = end.find(kSeparator);
  if (at == std::string::npos) return {end, end};  // "(other)"
  return {end.substr(0, at), end.substr(at + 1)};
}

std::uint32_t ServiceGraph::add_span(std::string_view service, std::int64_t time_ns,
                                     std::int64_t duration_ns, std::uint16_t bin, bool is_error,
                                     const Exemplar& exemplar) {
  const std::uint32_t index = services_.index_of(service, {});
  services_.add_at(index, time_ns, duration_ns, bin, is_error, exemplar);
  return index;
}

void ServiceGraph::add_trace(std::span<const FinishedSpan> trace, const RedTable& operations) {
  for (const FinishedSpan& span : trace) {
    if (span.is_running) continue;
    services_.add_self(span.service, span.time_ns, span.self_ns);
    if (span.parent_at == FinishedSpan::kNoParent) {
      spans_without_parent_ += span.names_parent ? 1 : 0;
      continue;
    }
    const FinishedSpan& caller = trace[span.parent_at];
    const Exemplar exemplar{span.trace_id, span.trace_priority};
    const std::uint16_t bin = Sketch::bin_of(static_cast<double>(span.total_ns));
    const auto [operation_edge, is_new] =
        operation_edge_of_.try_emplace(pair_key(caller.operation, span.operation), 0);
    if (is_new) {
      operation_edge->second =
          operation_edges_.index_of(edge_end(operations.component_of(caller.operation),
                                             operations.operation_of(caller.operation)),
                                    edge_end(operations.component_of(span.operation),
                                             operations.operation_of(span.operation)));
    }
    operation_edges_.add_at(operation_edge->second, span.time_ns, span.total_ns, bin, span.is_error,
                            exemplar);
    if (caller.service == span.service) continue;
    const auto [service_edge, is_new_service_edge] =
        service_edge_of_.try_emplace(pair_key(caller.service, span.service), 0);
    if (is_new_service_edge) {
      service_edge->second = service_edges_.index_of(services_.component_of(caller.service),
                                                     services_.component_of(span.service));
    }
    service_edges_.add_at(service_edge->second, span.time_ns, span.total_ns, bin, span.is_error,
                          exemplar);
  }
}

void ServiceGraph::write(StateWriter& out) const {
  services_.write(out);
  service_edges_.write(out);
  operation_edges_.write(out);
  out.varint(spans_without_parent_);
}

void ServiceGraph::read(StateReader& in) {
  services_.read(in);
  service_edges_.read(in);
  operation_edges_.read(in);
  spans_without_parent_ = in.varint();
}

}  // namespace ephor::tracer
