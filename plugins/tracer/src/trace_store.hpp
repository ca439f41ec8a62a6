// SPDX-License-Identifier: Apache-2.0
//
// The summaries of the latest traces and exact counts over all. Truth is the rows (one per
// TraceChunk); the newest chunks are in memory, others are read back when they are needed. A trace
// is found by its id without an index in the database: the set of all trace ids, which is kept for
// counting, gives its number, and the number its chunk.
#pragma once

#include <bitset>
#include <cstdint>
#include <deque>
#include <ephor/id_set.hpp>
#include <ephor/ledger.hpp>
#include <ephor/state.hpp>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "trace_summary.hpp"

namespace ephor::tracer {

// Head sampling as in OpenTelemetry's consistent probability sampling: the low 56 bits of the trace
// id are its randomness, so every sampler with the same rate keeps the same traces. `rate` in [0,
// 1].
bool is_sampled(const TraceId& id, double rate);

struct TraceStoreSettings {
  std::size_t history_max = 10'000;  // summaries kept
  std::size_t ids_max = 8'000'000;   // distinct trace ids remembered
  std::size_t memory_max = 50'000;   // summaries in memory, about
  std::int64_t keep_ns = 0;          // age at which a chunk of summaries goes; 0: none
};

class TraceStore {
 public:
  // The stored body of a chunk; empty if there is no such row.
  using RowReader = std::function<std::optional<std::string>(std::uint64_t chunk)>;

  explicit TraceStore(TraceStoreSettings settings, RowReader read_row = {});
  TraceStore(std::size_t history_max, std::size_t ids_max)
      : TraceStore(TraceStoreSettings{history_max, ids_max}) {}

  // `is_wanted`: whether head sampling keeps a summary of this trace. The summary as it is now,
  // valid until the next call; null if there is none.
  const TraceSummary* add(const SpanFacts& span, bool is_wanted);

  std::uint64_t trace_count() const { return seen_.size(); }
  std::uint64_t error_trace_count() const { return failed_.size(); }
  bool is_count_exact() const { return seen_.is_exact() && failed_.is_exact(); }
  // Spans of traces whose summary had already made room for others.
  std::uint64_t spans_after_eviction() const { return spans_after_eviction_; }
  std::uint64_t evicted_count() const { return evicted_; }
  std::size_t size() const { return kept_count_; }  // summaries there are
  std::size_t size_in_memory() const { return chunks_.size() * TraceChunk::kTraces; }

  // A summary and the chunk that names its operations. Holds the chunk while it lives.
  struct Found {
    std::shared_ptr<const TraceChunk> chunk;
    const TraceSummary* summary = nullptr;
    explicit operator bool() const { return summary != nullptr; }
    const TraceSummary* operator->() const { return summary; }
  };
  Found find(const TraceId& id);
  Found find_number(std::uint64_t number);

  // Writes the verdict into the summary, if it is still there.
  void decide(std::uint64_t number, Verdict verdict, Reason reason);

  // The traces of before it have no summary any more.
  std::uint64_t oldest_number() const;
  // Calls `visit(const TraceSummary&)` for each trace that has an id of this text, in chunks whose
  // spans end at `since_ns` or later.
  template <typename Visit>
  void for_each_with_id(std::string_view text, std::int64_t since_ns, Visit&& visit) {
    for (const auto& [place, kept] : kept_) {
      if (kept.last_end_ns < since_ns) continue;
      const std::shared_ptr<const TraceChunk> chunk = chunk_for_reading(place);
      if (!chunk || !chunk->may_have_id(text)) continue;
      for (const TraceSummary& summary : chunk->traces()) {
        bool has_it = false;
        summary.for_each_id([&](const NamedId& id) { has_it |= id.text == text; });
        if (has_it && is_kept(summary.number)) visit(summary);
      }
    }
  }

  // Latest arrivals first, from the number before `before`; stops when `visit(const TraceChunk&,
  // const TraceSummary&)` returns false. `wants(const TraceChunk&)` false passes a chunk by.
  // Chunks that are not in memory are read from their rows.
  template <typename Wants, typename Visit>
  void for_each_latest(std::uint64_t before, Wants&& wants, Visit&& visit) {
    for (auto at = kept_.rbegin(); at != kept_.rend(); ++at) {
      if (at->first * TraceChunk::kTraces >= before) continue;
      const std::shared_ptr<const TraceChunk> chunk = chunk_for_reading(at->first);
      if (!chunk || !wants(*chunk)) continue;
      for (std::size_t offset = TraceChunk::kTraces; offset-- > 0;) {
        const std::uint64_t number = at->first * TraceChunk::kTraces + offset;
        if (number >= before || !at->second.bits[offset]) continue;
        const TraceSummary* summary = chunk->find(number);
        if (summary != nullptr && !visit(*chunk, *summary)) return;
      }
    }
  }
  template <typename Visit>
  void for_each_latest(Visit&& visit) {
    for_each_latest(
        kNewest, [](const TraceChunk&) { return true; }, visit);
  }
  static constexpr std::uint64_t kNewest = std::numeric_limits<std::uint64_t>::max();

  IdSet& seen() { return seen_; }      // all traces; saved as rows by the owner
  IdSet& failed() { return failed_; }  // those with a failed span

  // Calls `write(const TraceChunk&)` for each chunk that changed since the last save, and
  // `erase(chunk number)` for those whose summaries have all gone.
  template <typename Write, typename Erase>
  void save_rows(Write&& write, Erase&& erase) {
    chunks_.save([&](const std::shared_ptr<TraceChunk>& chunk) {
      if (kept_.contains(chunk->number())) write(std::as_const(*chunk));
    });
    for (const std::uint64_t chunk : gone_) erase(chunk);
    gone_.clear();
  }

  void write(StateWriter& out) const;  // without the id sets and the rows
  void read(StateReader& in);
  // Reads the newest chunks into memory, as many as fit.
  void warm_up();

 private:
  struct Kept {
    std::bitset<TraceChunk::kTraces> bits;  // which of the chunk's traces have a summary
    std::int64_t last_end_ns = std::numeric_limits<std::int64_t>::min();
  };

  bool is_kept(std::uint64_t number) const;
  std::optional<std::uint64_t> number_of(std::uint64_t key);
  std::shared_ptr<TraceChunk> chunk_for_writing(std::uint64_t chunk, bool is_first);
  std::shared_ptr<const TraceChunk> chunk_for_reading(std::uint64_t chunk);
  void make_room();
  void drop_chunk(std::uint64_t chunk);

  TraceStoreSettings settings_;
  RowReader read_row_;
  IdSet seen_;
  IdSet failed_;
  std::map<std::uint64_t, Kept> kept_;  // by chunk
  std::size_t kept_count_ = 0;
  Ledger<std::shared_ptr<TraceChunk>> chunks_;
  // Traces beyond ids_max have no place in seen_: while their summary lives they are here.
  std::unordered_map<std::uint64_t, std::uint64_t> overflow_;           // key -> number
  std::deque<std::pair<std::uint64_t, std::uint64_t>> overflow_order_;  // (number, key)
  std::uint64_t next_number_ = 0;
  std::int64_t newest_ns_ = std::numeric_limits<std::int64_t>::min();
  std::uint64_t evicted_ = 0;
  std::uint64_t spans_after_eviction_ = 0;
  std::vector<std::uint64_t> gone_;  // chunks whose rows go with the next save
  // The trace of the last span, which is mostly that of the next.
  TraceId last_id_{};
  std::uint64_t last_key_ = 0;
  std::optional<std::uint64_t> last_number_;
};

}  // namespace ephor::tracer
