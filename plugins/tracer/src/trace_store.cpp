// SPDX-License-Identifier: Apache-2.0
#include "trace_store.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ephor/text_hash.hpp>

namespace ephor::tracer {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

void update(TraceSummary& summary, const SpanFacts& span) {
  summary.start_ns =
      summary.span_count == 0 ? span.start_ns : std::min(summary.start_ns, span.start_ns);
  summary.end_ns = summary.span_count == 0 ? span.end_ns : std::max(summary.end_ns, span.end_ns);
  ++summary.span_count;
  summary.error_count += span.is_error ? 1 : 0;
  if (summary.correlation_id.empty()) summary.correlation_id = span.correlation_id;
  // Of several roots the earliest names the trace.
  if (span.is_root && (!summary.root_start_ns || span.start_ns < *summary.root_start_ns)) {
    summary.root_start_ns = span.start_ns;
    summary.root_component = span.component;
    summary.root_operation = span.operation;
  }
  auto& components = summary.components;
  const auto at = std::lower_bound(components.begin(), components.end(), span.component);
  const bool is_known = at != components.end() && *at == span.component;
  if (!is_known && components.size() < TraceStore::kComponentsMax) {
    components.emplace(at, span.component);
  }
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

bool is_sampled(const TraceId& id, double rate) {
  std::uint64_t randomness = 0;
  for (std::size_t i = 9; i < 16; ++i) randomness = randomness << 8 | id[i];
  return static_cast<double>(randomness) >= std::ldexp(1.0 - rate, 56);
}

TraceStore::TraceStore(std::size_t history_max, std::size_t ids_max)
    : history_max_(history_max), seen_(ids_max), failed_(ids_max) {}

void TraceStore::add(const SpanFacts& span, bool is_kept) {
  // Spans of one trace mostly come together.
  if (last_ < summaries_.size() && summaries_[last_].id == span.trace_id) {
    if (span.is_error) failed_.insert(hash_of(span.trace_id));
    update(summaries_[last_], span);
    return;
  }
  const std::uint64_t key = hash_of(span.trace_id);
  const bool may_be_old = !seen_.insert(key);
  if (span.is_error) failed_.insert(key);
  if (!is_kept || history_max_ == 0) return;
  if (const auto found = index_.find(key); found != index_.end()) {
    last_ = found->second;
    update(summaries_[last_], span);
  } else if (may_be_old) {
    ++spans_after_eviction_;  // half a summary would mislead; the journal still has the spans
  } else {
    last_ = next_;
    update(*make_room(span.trace_id, key), span);
  }
}

TraceSummary* TraceStore::make_room(const TraceId& id, std::uint64_t key) {
  const std::size_t at = next_;
  if (summaries_.size() < history_max_) {
    summaries_.emplace_back();
  } else {
    index_.erase(hash_of(summaries_[at].id));
    summaries_[at] = {};
    ++evicted_;
  }
  next_ = (at + 1) % history_max_;
  summaries_[at].id = id;
  index_.emplace(key, at);
  return &summaries_[at];
}

const TraceSummary* TraceStore::find(const TraceId& id) const {
  const auto found = index_.find(hash_of(id));
  return found == index_.end() ? nullptr : &summaries_[found->second];
}

void TraceStore::write(StateWriter& out) const {
  out.varint(evicted_).varint(spans_after_eviction_).varint(summaries_.size());
  // Oldest first, so that reading refills the ring in the same order.
  const std::size_t first = summaries_.size() < history_max_ ? 0 : next_;
  for (std::size_t i = 0; i < summaries_.size(); ++i) {
    const TraceSummary& summary = summaries_[(first + i) % summaries_.size()];
    out.raw({reinterpret_cast<const char*>(summary.id.data()), summary.id.size()});
    out.i64(summary.start_ns).i64(summary.end_ns);
    out.varint(summary.span_count).varint(summary.error_count);
    out.boolean(summary.root_start_ns.has_value()).i64(summary.root_start_ns.value_or(0));
    out.text(summary.root_component).text(summary.root_operation).text(summary.correlation_id);
    out.varint(summary.components.size());
    for (const std::string& component : summary.components) out.text(component);
  }
}

void TraceStore::read(StateReader& in) {
  const std::uint64_t evicted = in.varint();
  spans_after_eviction_ = in.varint();
  for (std::size_t left = in.count(40); left > 0; --left) {
    TraceId id{};
    std::memcpy(id.data(), in.raw(id.size()).data(), id.size());
    TraceSummary& summary = *make_room(id, hash_of(id));
    summary.start_ns = in.i64();
    summary.end_ns = in.i64();
    summary.span_count = in.varint();
    summary.error_count = in.varint();
    const bool has_root = in.boolean();
    const std::int64_t root_start_ns = in.i64();
    if (has_root) summary.root_start_ns = root_start_ns;
    summary.root_component = in.text();
    summary.root_operation = in.text();
    summary.correlation_id = in.text();
    for (std::size_t components = in.count(); components > 0; --components) {
      summary.components.push_back(in.text());
    }
  }
  evicted_ = evicted;
}

}  // namespace ephor::tracer
