// SPDX-License-Identifier: Apache-2.0
#include "trace_summary.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <utility>

namespace ephor::tracer {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::vector<std::string> distinct(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

std::string hex_of(const TraceId& id) {
  std::string out;
  out.reserve(32);
  for (const std::uint8_t byte : id) {
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 0xF];
  }
  return out;
}

std::optional<TraceId> trace_id_from(std::string_view hex) {
  TraceId id{};
  if (hex.size() != 2 * id.size()) return std::nullopt;
  for (std::size_t i = 0; i < id.size(); ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return id;
}

std::uint64_t hash_of(const TraceId& id) {
  return hash64({reinterpret_cast<const char*>(id.data()), id.size()});
}

std::string_view name_of(IdKind kind) {
  switch (kind) {
    case IdKind::correlation:
      return "correlation_id";
    case IdKind::decision:
      return "decision_id";
    case IdKind::execution:
      return "execution_id";
    case IdKind::order:
      return "order_id";
    case IdKind::trade:
      return "trade_id";
    case IdKind::symbol:
      return "symbol";
    case IdKind::prediction:
      return "prediction_id";
  }
  return "id";
}

std::optional<IdKind> id_kind_of(std::string_view attribute) {
  if (attribute == "symbol") return IdKind::symbol;
  if (attribute.size() < 8 || !attribute.ends_with("id")) return std::nullopt;
  const char separator = attribute[attribute.size() - 3];
  if (separator != '.' && separator != '_') return std::nullopt;
  const std::string_view stem = attribute.substr(0, attribute.size() - 3);
  if (stem == "correlation") return IdKind::correlation;
  if (stem == "decision") return IdKind::decision;
  if (stem == "execution") return IdKind::execution;
  if (stem == "order") return IdKind::order;
  if (stem == "trade") return IdKind::trade;
  if (stem == "prediction") return IdKind::prediction;
  return std::nullopt;
}

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::none:
      return "none";
    case Verdict::kept:
      return "kept";
    case Verdict::dropped:
      return "dropped";
  }
  return "none";
}

std::string_view name_of(Reason reason) {
  switch (reason) {
    case Reason::none:
      return "none";
    case Reason::error:
      return "error";
    case Reason::slow:
      return "slow";
    case Reason::rare_path:
      return "rare_path";
    case Reason::losing_trade:
      return "losing_trade";
    case Reason::baseline:
      return "baseline";
  }
  return "none";
}

bool TraceSummary::has_id(IdKind kind, std::string_view text) const {
  bool is_found = false;
  for_each_id([&](const NamedId& one) { is_found |= one.kind == kind && one.text == text; });
  return is_found;
}

std::string_view TraceSummary::id_of(IdKind kind) const {
  std::string_view found;
  for_each_id([&](const NamedId& one) {
    if (found.empty() && one.kind == kind) found = one.text;
  });
  return found;
}

const TraceSummary* TraceChunk::find(std::uint64_t trace) const {
  if (trace / kTraces != number_) return nullptr;
  const std::int16_t slot = slots_[trace % kTraces];
  return slot < 0 ? nullptr : &traces_[static_cast<std::size_t>(slot)];
}

TraceSummary* TraceChunk::find(std::uint64_t trace) {
  return const_cast<TraceSummary*>(std::as_const(*this).find(trace));
}

void TraceChunk::add(std::uint64_t trace, const SpanFacts& span) {
  TraceSummary* found = find(trace);
  if (found == nullptr) {
    slots_[trace % kTraces] = static_cast<std::int16_t>(traces_.size());
    found = &traces_.emplace_back();
    found->number = trace;
    found->id = span.trace_id;
    found->start_ns = span.start_ns;
    found->end_ns = span.end_ns;
  }
  TraceSummary& summary = *found;
  summary.start_ns = std::min(summary.start_ns, span.start_ns);
  summary.end_ns = std::max(summary.end_ns, span.end_ns);
  ++summary.span_count;
  summary.error_count += span.is_error ? 1 : 0;
  const std::uint16_t place = place_of(span);
  // Of several roots the earliest names the trace.
  if (span.is_root &&
      (summary.root == TraceSummary::kNoOperation || span.start_ns < summary.root_start_ns)) {
    summary.root_start_ns = span.start_ns;
    summary.root = place;
  }
  auto& places = summary.operations;
  if (place == TraceSummary::kNoOperation) {
    summary.is_cut = true;
  } else if (const auto at = std::lower_bound(places.begin(), places.end(), place);
             at == places.end() || *at != place) {
    if (places.size() < kOperationsPerTraceMax) {
      places.insert(at, place);
    } else {
      summary.is_cut = true;
    }
  }
  if (!span.correlation_id.empty()) add_id(summary, IdKind::correlation, span.correlation_id);
  for (const NamedId& id : span.ids) add_id(summary, id.kind, id.text);
}

std::uint16_t TraceChunk::place_of(const SpanFacts& span) {
  const std::uint64_t hash =
      hash64(span.operation) * 3 + hash64(span.component) * 5 + hash64(span.service);
  const auto at = std::find(operation_hashes_.begin(), operation_hashes_.end(), hash);
  if (at != operation_hashes_.end()) {
    return static_cast<std::uint16_t>(at - operation_hashes_.begin());
  }
  if (operations_.size() >= kOperationsMax) return TraceSummary::kNoOperation;
  operations_.push_back(
      {std::string(span.service), std::string(span.component), std::string(span.operation)});
  operation_hashes_.push_back(hash);
  return static_cast<std::uint16_t>(operations_.size() - 1);
}

void TraceChunk::add_id(TraceSummary& summary, IdKind kind, std::string_view text) {
  std::size_t count = 0;
  bool is_known = false;
  summary.for_each_id([&](const NamedId& id) {
    ++count;
    is_known |= id.kind == kind && id.text == text;
  });
  if (is_known || text.empty()) return;
  if (count >= kIdsPerTraceMax || text.size() > kIdBytesMax) {
    summary.is_cut = true;
    return;
  }
  summary.ids += static_cast<char>(kind);
  summary.ids += static_cast<char>(text.size());
  summary.ids += text;
  id_hashes_.push_back(static_cast<std::uint32_t>(hash64(text)));
}

bool TraceChunk::may_have_id(std::string_view text) const {
  return std::find(id_hashes_.begin(), id_hashes_.end(),
                   static_cast<std::uint32_t>(hash64(text))) != id_hashes_.end();
}

std::int64_t TraceChunk::first_start_ns() const {
  std::int64_t first = traces_.empty() ? 0 : traces_.front().start_ns;
  for (const TraceSummary& trace : traces_) first = std::min(first, trace.start_ns);
  return first;
}

std::int64_t TraceChunk::last_end_ns() const {
  std::int64_t last = traces_.empty() ? 0 : traces_.front().end_ns;
  for (const TraceSummary& trace : traces_) last = std::max(last, trace.end_ns);
  return last;
}

std::vector<std::string> components_of(const TraceChunk& chunk, const TraceSummary& summary) {
  std::vector<std::string> names;
  for (const std::uint16_t place : summary.operations) {
    names.push_back(chunk.operations()[place].component);
  }
  return distinct(std::move(names));
}

std::vector<std::string> services_of(const TraceChunk& chunk, const TraceSummary& summary) {
  std::vector<std::string> names;
  for (const std::uint16_t place : summary.operations) {
    names.push_back(chunk.operations()[place].service);
  }
  return distinct(std::move(names));
}

}  // namespace ephor::tracer
