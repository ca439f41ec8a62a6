// SPDX-License-Identifier: Apache-2.0
//
// What is kept of every trace beside its spans, in chunks of kTraces by order of first arrival.
//
// Traces that arrive together share their names and most of their shape, so a chunk has one list of
// operations that its summaries point into, and is stored as one compressed row: a few bytes per
// span where a row and its index entries would be dozens. A search looks a wanted name up once per
// chunk and passes by the chunks that do not know it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::tracer {

using TraceId = std::array<std::uint8_t, 16>;

std::string hex_of(const TraceId& id);  // 32 lower-case digits
// 32 hex digits of either case; empty on anything else.
std::optional<TraceId> trace_id_from(std::string_view hex);
std::uint64_t hash_of(const TraceId& id);

// What a trace may be looked up by beside its own id. Stored: numbers are never used again.
enum class IdKind : std::uint8_t {
  correlation = 1,
  decision = 2,
  execution = 3,
  order = 4,
  trade = 5,
  symbol = 6,
  prediction = 7
};
inline constexpr std::array kIdKinds{IdKind::correlation, IdKind::decision, IdKind::execution,
                                     IdKind::order,       IdKind::trade,    IdKind::symbol,
                                     IdKind::prediction};
std::string_view name_of(IdKind kind);  // "correlation_id", ..., "symbol"
// The kind that a span's attribute names: "decision.id", "decision_id", "symbol" ...
std::optional<IdKind> id_kind_of(std::string_view attribute);

// Whether a trace is kept beyond the journal's retention, and why. Stored, as above.
enum class Verdict : std::uint8_t { none = 0, kept = 1, dropped = 2 };
enum class Reason : std::uint8_t {
  none = 0,
  error = 1,
  slow = 2,
  rare_path = 3,
  losing_trade = 4,
  baseline = 5
};
std::string_view name_of(Verdict verdict);
std::string_view name_of(Reason reason);

struct NamedId {
  IdKind kind;
  std::string_view text;
};

struct OperationName {
  std::string service;
  std::string component;
  std::string operation;
  friend bool operator==(const OperationName&, const OperationName&) = default;
};

struct TraceSummary {
  static constexpr std::uint16_t kNoOperation = std::numeric_limits<std::uint16_t>::max();

  std::uint64_t number = 0;  // of the trace by first arrival, from 0
  TraceId id{};
  std::int64_t start_ns = 0;  // earliest start of a span
  std::int64_t end_ns = 0;    // latest end
  std::int64_t root_start_ns = 0;
  std::uint32_t span_count = 0;
  std::uint32_t error_count = 0;
  std::uint16_t root = kNoOperation;  // place in the chunk's list; none while no root has come
  Verdict verdict = Verdict::none;
  Reason reason = Reason::none;
  bool is_cut = false;                    // more operations or ids than are kept
  std::vector<std::uint16_t> operations;  // places, ascending
  std::string ids;                        // packed, see for_each_id

  std::int64_t duration_ns() const { return end_ns - start_ns; }
  // Calls `visit(NamedId)`; the views live as long as the summary is not changed.
  template <typename Visit>
  void for_each_id(Visit&& visit) const {
    const std::string_view packed = ids;
    for (std::size_t at = 0; at + 2 <= packed.size();) {
      const auto size = static_cast<std::size_t>(static_cast<unsigned char>(packed[at + 1]));
      visit(NamedId{static_cast<IdKind>(packed[at]), packed.substr(at + 2, size)});
      at += 2 + size;
    }
  }
  bool has_id(IdKind kind, std::string_view text) const;
  // The first of its kind; empty if there is none.
  std::string_view id_of(IdKind kind) const;
};

// What one span tells of its trace.
struct SpanFacts {
  TraceId trace_id{};
  std::string_view service;
  std::string_view component;
  std::string_view operation;
  std::string_view correlation_id;
  std::vector<NamedId> ids;  // others, from its attributes
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  bool is_root = false;
  bool is_error = false;
};

class TraceChunk {
 public:
  static constexpr std::size_t kTraces = 256;
  // Bounds of one summary; what is beyond makes it `is_cut`.
  static constexpr std::size_t kOperationsPerTraceMax = 64;
  static constexpr std::size_t kIdsPerTraceMax = 16;
  static constexpr std::size_t kIdBytesMax = 255;
  static constexpr std::size_t kOperationsMax = 4096;  // of the chunk

  explicit TraceChunk(std::uint64_t number = 0) : number_(number) { slots_.fill(-1); }

  std::uint64_t number() const { return number_; }
  const std::vector<TraceSummary>& traces() const { return traces_; }  // by first mention
  const std::vector<OperationName>& operations() const { return operations_; }
  const TraceSummary* find(std::uint64_t trace) const;
  TraceSummary* find(std::uint64_t trace);

  // `trace` = its number, which belongs to this chunk; made if it is new.
  void add(std::uint64_t trace, const SpanFacts& span);

  // False only if no summary here has this id.
  bool may_have_id(std::string_view text) const;

  std::int64_t first_start_ns() const;
  std::int64_t last_end_ns() const;

  // One zstd frame. Throws ephor::Error on bytes that are no chunk.
  std::string encode() const;
  static TraceChunk decode(std::uint64_t number, std::string_view body);

 private:
  std::uint16_t place_of(const SpanFacts& span);
  void add_id(TraceSummary& summary, IdKind kind, std::string_view text);

  std::uint64_t number_;
  std::vector<TraceSummary> traces_;
  std::array<std::int16_t, kTraces> slots_;  // place in traces_, -1: none
  std::vector<OperationName> operations_;
  std::vector<std::uint64_t> operation_hashes_;  // beside operations_
  std::vector<std::uint32_t> id_hashes_;         // of every id here
};

// How a summary names its operations: sorted, distinct.
std::vector<std::string> components_of(const TraceChunk& chunk, const TraceSummary& summary);
std::vector<std::string> services_of(const TraceChunk& chunk, const TraceSummary& summary);

}  // namespace ephor::tracer
