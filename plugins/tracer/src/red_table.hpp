// SPDX-License-Identifier: Apache-2.0
//
// Rate, errors and duration per (component, operation): over everything ever seen, and per window
// of event time in three rings (minutes, hours, days). Every span goes into the overall cell and
// into each ring that still holds its window, so a ring's content depends on the spans alone, not
// on the order or the slices in which they came.
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

#include "sketch.hpp"

namespace ephor::tracer {

struct RedCell {
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t duration_sum_ns = 0;
  std::int64_t duration_min_ns = 0;
  std::int64_t duration_max_ns = 0;
  Sketch durations_ns;

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
                    std::int64_t duration_ns, bool is_error);

  // Times are widened to whole windows of the finest ring that still holds `from_ns`; a `from_ns`
  // behind every ring is moved to where the coarsest begins. Throws ephor::Error on a window that
  // no ring can give or on more than kPointsMax points.
  RedAnswer ask(const RedFilter& filter) const;

  std::uint64_t count() const { return total_.count; }
  std::uint64_t errors() const { return total_.errors; }
  const RedCell& total() const { return total_; }
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

  std::uint32_t operation_index(std::string_view component, std::string_view operation);
  static RedCell& cell_of(Window& window, std::uint32_t operation);
  bool matches(const Operation& operation, const RedFilter& filter) const;
  std::int64_t ring_start_ns(std::size_t ring) const;
  std::size_t ring_for(const RedFilter& filter) const;
  void answer_overall(const RedFilter& filter, RedAnswer& answer) const;
  void answer_windows(const RedFilter& filter, std::size_t ring, RedAnswer& answer) const;

  std::size_t operations_max_;
  std::vector<Operation> operations_;
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> index_;
  std::string key_;                                                  // scratch
  std::array<std::map<std::int64_t, Window>, kRings.size()> rings_;  // by window number
  RedCell total_;
  std::int64_t first_ns_ = 0;
  std::int64_t last_ns_ = 0;
};

}  // namespace ephor::tracer
