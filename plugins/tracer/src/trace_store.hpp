// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <ephor/id_set.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ephor::tracer {

using TraceId = std::array<std::uint8_t, 16>;

std::string hex_of(const TraceId& id);  // 32 lower-case digits
// 32 hex digits of either case; empty on anything else.
std::optional<TraceId> trace_id_from(std::string_view hex);
std::uint64_t hash_of(const TraceId& id);

// Head sampling as in OpenTelemetry's consistent probability sampling: the low 56 bits of the trace
// id are its randomness, so every sampler with the same rate keeps the same traces. `rate` in [0,
// 1].
bool is_sampled(const TraceId& id, double rate);

struct SpanFacts {
  TraceId trace_id{};
  std::string_view component;
  std::string_view operation;
  std::string_view correlation_id;
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  bool is_root = false;
  bool is_error = false;
};

struct TraceSummary {
  TraceId id{};
  std::int64_t start_ns = 0;  // earliest start of a span
  std::int64_t end_ns = 0;    // latest end
  std::uint64_t span_count = 0;
  std::uint64_t error_count = 0;
  std::optional<std::int64_t> root_start_ns;  // empty while no span without a parent has come
  std::string root_component;
  std::string root_operation;
  std::string correlation_id;
  std::vector<std::string> components;  // sorted, at most kComponentsMax
};

// Summaries of the latest traces by first arrival, and exact counts over all.
class TraceStore {
 public:
  static constexpr std::size_t kComponentsMax = 32;

  // `history_max` summaries are kept; ids of `ids_max` distinct traces are remembered for counting.
  TraceStore(std::size_t history_max, std::size_t ids_max);

  // `is_kept`: whether sampling keeps a summary of this trace.
  void add(const SpanFacts& span, bool is_kept);

  std::uint64_t trace_count() const { return seen_.size(); }
  std::uint64_t error_trace_count() const { return failed_.size(); }
  bool is_count_exact() const { return seen_.is_exact() && failed_.is_exact(); }
  // Spans of traces whose summary had already made room for others.
  std::uint64_t spans_after_eviction() const { return spans_after_eviction_; }
  std::uint64_t evicted_count() const { return evicted_; }
  std::size_t size() const { return summaries_.size(); }
  const TraceSummary* find(const TraceId& id) const;
  // Latest arrivals first; stops when `visit` returns false.
  template <typename Visit>
  void for_each_latest(Visit&& visit) const {
    for (std::size_t i = 0; i < summaries_.size(); ++i) {
      const std::size_t at = (next_ + summaries_.size() - 1 - i) % summaries_.size();
      if (!visit(summaries_[at])) return;
    }
  }

  IdSet& seen() { return seen_; }      // all traces; saved as rows by the owner
  IdSet& failed() { return failed_; }  // those with a failed span

  void write(StateWriter& out) const;  // without the id sets
  void read(StateReader& in);

 private:
  TraceSummary* make_room(const TraceId& id, std::uint64_t key);

  std::size_t history_max_;
  IdSet seen_;
  IdSet failed_;
  std::vector<TraceSummary> summaries_;              // a ring once it is full
  std::size_t last_ = static_cast<std::size_t>(-1);  // summary of the last span that had one
  std::size_t next_ = 0;                             // where the next summary goes
  std::unordered_map<std::uint64_t, std::size_t> index_;
  std::uint64_t evicted_ = 0;
  std::uint64_t spans_after_eviction_ = 0;
};

}  // namespace ephor::tracer
