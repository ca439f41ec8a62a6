// SPDX-License-Identifier: Apache-2.0
//
// Rate, errors and duration per pair of names (component and operation; caller and callee): over
// everything ever seen, and per window of event time in three rings (minutes, hours, days). Every
// span goes into the overall cell and into each ring that still holds its window, so a ring's
// content depends on the spans alone, not on the order or the slices in which they came.
//
// A span of the latest two minutes is one increment in a dense cell; that cell is merged into the
// five it belongs to when its minute has passed, or somebody asks. Merging loses nothing, so it
// does not show when it was done.
#pragma once

#include <array>
#include <cstdint>
#include <ephor/text_hash.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "exemplars.hpp"
#include "sketch.hpp"

namespace ephor::tracer {

struct RedCell {
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t duration_sum_ns = 0;
  std::int64_t duration_min_ns = 0;
  std::int64_t duration_max_ns = 0;
  std::uint64_t self_sum_ns = 0;  // of the spans whose trace is finished
  Sketch durations_ns;
  Exemplars exemplars;

  void add(std::int64_t duration_ns, std::uint16_t bin, bool is_error);
  void merge(const RedCell& other);
  void write(StateWriter& out) const;
  void read(StateReader& in);
};

struct RedFilter {
  std::string component;  // empty: all
  std::string operation;  // empty: all
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;      // exclusive
  std::optional<std::int64_t> window_ns;  // a series of windows of this width is wanted
};

struct RedRow {
  std::string component;
  std::string operation;
  RedCell cell;
};

struct RedPoint {
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  RedCell cell;
};

// A trace that shows a latency, and how many spans of its bucket and window it stands for.
struct SampledTrace {
  std::uint16_t bucket = 0;
  double weight = 0.0;
  Exemplar exemplar;
};

struct RedAnswer {
  // What the figures are over. Without a time filter: the first to the last event, resolution 0.
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;
  std::int64_t resolution_ns = 0;
  std::vector<RedRow> operations;  // ordered by component, then operation
  std::vector<RedPoint> windows;   // ordered by time, only those with spans
};

class RedTable {
 public:
  struct Ring {
    std::int64_t width_ns;
    std::int64_t capacity;  // windows
  };
  static constexpr std::array<Ring, 3> kRings{
      {{60'000'000'000, 120}, {3'600'000'000'000, 168}, {86'400'000'000'000, 90}}};
  static constexpr std::size_t kPointsMax = 2000;

  // Beyond `operations_max` pairs everything new counts as ("(other)", "(other)").
  explicit RedTable(std::size_t operations_max);

  // The index of the operation it counted for: stable, below operations_max.
  std::uint32_t add(std::string_view component, std::string_view operation, std::int64_t time_ns,
                    std::int64_t duration_ns, bool is_error, const Exemplar& exemplar = {});
  // The two halves of it: the index of a pair of names, and a span for it.
  std::uint32_t index_of(std::string_view component, std::string_view operation);
  // `bin`: of the duration, so that one logarithm serves several tables.
  void add_at(std::uint32_t index, std::int64_t time_ns, std::int64_t duration_ns,
              std::uint16_t bin, bool is_error, const Exemplar& exemplar);
  // Self time of a span that was added with this time.
  void add_self(std::uint32_t index, std::int64_t time_ns, std::int64_t self_ns);

  // Times are widened to whole windows of the finest ring that still holds `from_ns`; a `from_ns`
  // behind every ring is moved to where the coarsest begins. Throws ephor::Error on a window that
  // no ring can give or on more than kPointsMax points.
  RedAnswer ask(const RedFilter& filter) const;

  // The exemplars of what `filter` selects, each window's for itself, by priority; with the times
  // as ask() takes them (without any: the whole coarsest ring).
  std::vector<SampledTrace> sample(const RedFilter& filter) const;

  std::uint64_t count() const { return count_; }
  std::uint64_t errors() const { return errors_; }
  const RedCell& total() const {
    settle();
    return total_;
  }
  const std::string& component_of(std::uint32_t index) const {
    return operations_[index].component;
  }
  const std::string& operation_of(std::uint32_t index) const {
    return operations_[index].operation;
  }
  // Of the spans seen so far; 0 before the first.
  std::int64_t last_ns() const { return last_ns_; }
  std::size_t operation_count() const { return operations_.size(); }
  // False for the pair that stands for all beyond the bound.
  bool is_one_operation(std::uint32_t index) const;
  std::string name_of(std::uint32_t index) const;  // "component/operation"

  void write(StateWriter& out) const;
  void read(StateReader& in);  // into an empty table; throws ephor::Error

 private:
  struct Operation {
    std::string component;
    std::string operation;
    RedCell overall;
  };
  using Window = std::vector<std::pair<std::uint32_t, RedCell>>;  // by operation index, sorted

  // What a minute that is not over holds for one operation.
  struct HotCell {
    std::uint64_t count = 0;
    std::uint64_t errors = 0;
    std::uint64_t duration_sum_ns = 0;
    std::int64_t duration_min_ns = 0;
    std::int64_t duration_max_ns = 0;
    std::uint64_t self_sum_ns = 0;
    std::uint16_t bin_first = 0;
    std::vector<std::uint32_t> bins;  // counts from bin_first on
    Exemplars exemplars;
    bool is_touched = false;

    void add(std::int64_t duration_ns, std::uint16_t bin, bool is_error);
    RedCell take();  // and is empty again
  };
  struct HotMinute {
    std::int64_t number = 0;
    std::vector<HotCell> cells;  // by operation index
    std::vector<std::uint32_t> touched;
  };

  HotCell* hot_cell(std::uint32_t index, std::int64_t time_ns);
  void merge_at(std::uint32_t index, std::int64_t time_ns, const RedCell& cell) const;
  void settle(HotMinute& minute) const;
  void settle() const;  // everything is in its rings
  static RedCell& cell_of(Window& window, std::uint32_t operation);
  bool matches(const Operation& operation, const RedFilter& filter) const;
  std::int64_t ring_start_ns(std::size_t ring) const;
  std::size_t ring_for(const RedFilter& filter) const;
  // [from, to) in whole windows of the ring.
  std::pair<std::int64_t, std::int64_t> range_of(const RedFilter& filter, std::size_t ring) const;
  void answer_overall(const RedFilter& filter, RedAnswer& answer) const;
  void answer_windows(const RedFilter& filter, std::size_t ring, RedAnswer& answer) const;

  std::size_t operations_max_;
  // Mutable: where a figure stands, hot or settled, is not part of what is known.
  mutable std::vector<Operation> operations_;
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> index_;
  std::string key_;                                                          // scratch
  mutable std::array<std::map<std::int64_t, Window>, kRings.size()> rings_;  // by window number
  mutable RedCell total_;
  mutable std::array<HotMinute, 2> hot_;  // by the parity of the minute's number
  std::uint64_t count_ = 0;
  std::uint64_t errors_ = 0;
  std::int64_t first_ns_ = 0;
  std::int64_t last_ns_ = 0;
};

}  // namespace ephor::tracer
