// SPDX-License-Identifier: Apache-2.0
#include "trace_analysis.hpp"

#include "text.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kComponentsMax = 4096;
constexpr std::string_view kOther = "(other)";

// The member of JoinKeys that an id of this kind fills; null for what joins nothing.
std::string_view JoinKeys::*member_of(IdKind kind) {
  if (kind == IdKind::decision) return &JoinKeys::decision_id;
  if (kind == IdKind::execution) return &JoinKeys::execution_id;
  if (kind == IdKind::order) return &JoinKeys::order_id;
  if (kind == IdKind::trade) return &JoinKeys::trade_id;
  return nullptr;
}

}  // namespace

std::uint32_t TraceAnalysis::component_index(std::string_view name) {
  if (const auto found = component_of_.find(name); found != component_of_.end()) {
    return found->second;
  }
  if (components_.size() + 1 >= kComponentsMax && name != kOther) return component_index(kOther);
  components_.emplace_back(name);
  const auto index = static_cast<std::uint32_t>(components_.size() - 1);
  component_of_.emplace(name, index);
  return index;
}

void TraceAnalysis::add_span(const Span& span, std::uint64_t trace_key, std::uint16_t bin,
                             OpenSpan& into) {
  if (into.operation >= component_by_operation_.size()) {
    component_by_operation_.resize(into.operation + 1, 0);
  }
  std::uint32_t& known = component_by_operation_[into.operation];
  if (known == 0 || into.is_unnamed) known = component_index(span.component) + 1;
  into.component = known - 1;
  into.is_async = is_consumer(span.kind);
  const Exemplar exemplar{into.trace_id, trace_key};
  if (into.is_running) {
    ++running_spans_;
    into.service = graph_.service_index(span.service);
  } else {
    into.service = graph_.add_span(span.service, into.time_ns, into.end_ns - into.start_ns, bin,
                                   into.is_error, exemplar);
  }
}

void TraceAnalysis::add_ids(std::span<const NamedId> ids, std::uint64_t trace_key) {
  if (settings_.outcomes_max == 0 || trace_key == 0) return;
  JoinKeys keys;
  bool has_any = false;
  for (const NamedId& id : ids) {
    const auto member = member_of(id.kind);
    if (member == nullptr) continue;
    keys.*member = id.text;
    has_any = true;
  }
  if (!has_any) return;
  keys.trace = trace_key;
  outcomes_.add_link(keys);
}

void TraceAnalysis::add_trace(std::span<const FinishedSpan> trace, const RedTable& operations,
                              std::int64_t now_ns) {
  if (trace.empty()) return;
  graph_.add_trace(trace, operations);
  paths_.add_trace(trace);
  const std::uint64_t key = trace.front().trace_priority;
  if (key == 0) return;
  active_.add_trace(key, trace, now_ns);
  outcomes_.add_trace(key, trace, paths_.latest_root());
}

void TraceAnalysis::add_trade(const Trade& trade, std::uint64_t trace_key, const Event& event) {
  JoinKeys keys{trace_key,          event.correlation, trade.decision_id,
                trade.execution_id, trade.order_id,    trade.trade_id};
  outcomes_.add_trade(keys, trade.status == "closed", trade.pnl, trade.slippage, event.time_ns);
}

void TraceAnalysis::add_outcome(const Outcome& outcome, std::uint64_t trace_key,
                                const Event& event) {
  if (!outcome.realized_return) return;
  JoinKeys keys;
  keys.trace = trace_key;
  keys.correlation = event.correlation;
  keys.decision_id = outcome.decision_id;
  outcomes_.add_return(keys, *outcome.realized_return, event.time_ns);
}

void TraceAnalysis::add_ids(simdjson::dom::object data, std::uint64_t trace_key,
                            const Event& event) {
  JoinKeys keys;
  keys.trace = trace_key;
  keys.correlation = event.correlation;
  for (const auto& [name, value] : data) {
    const auto kind = id_kind_of(name);
    if (const auto member = kind ? member_of(*kind) : nullptr) {
      keys.*member = EventReader::text(value);
    }
  }
  outcomes_.add_link(keys);
}

void TraceAnalysis::write(StateWriter& out) const {
  graph_.write(out);
  paths_.write(out);
  active_.write(out);
  outcomes_.write(out);
  out.varint(running_spans_).varint(components_.size());
  for (const std::string& name : components_) out.text(name);
}

void TraceAnalysis::read(StateReader& in) {
  graph_.read(in);
  paths_.read(in);
  active_.read(in);
  outcomes_.read(in);
  running_spans_ = in.varint();
  for (std::size_t left = in.count(); left > 0; --left) {
    if (component_index(in.text()) + 1 != components_.size()) {
      throw Error(EPHOR_INVALID, "component twice, or too many");
    }
  }
}

}  // namespace ephor::tracer
