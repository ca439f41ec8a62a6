// SPDX-License-Identifier: Apache-2.0
//
// All series, bounded. When the bound is met, a series that has been idle for long makes room for a
// new one; if none has, points of the new one are counted and not kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "metric_series.hpp"

namespace ephor::metrics {

inline constexpr std::string_view kRollupTable = "metric_rollup";
inline constexpr std::string_view kTables = R"({"version": 1, "tables": [
  {"name": "metric_rollup", "key": ["name", "labels_hash", "resolution_s", "bucket_start"],
   "columns": [
    {"name": "name", "type": "text"},
    {"name": "labels", "type": "json"},
    {"name": "labels_hash", "type": "text"},
    {"name": "resolution_s", "type": "integer"},
    {"name": "bucket_start", "type": "text"},
    {"name": "count", "type": "integer"},
    {"name": "sum", "type": "real"},
    {"name": "min", "type": "real"},
    {"name": "max", "type": "real"},
    {"name": "first", "type": "real"},
    {"name": "last", "type": "real"},
    {"name": "unit", "type": "text"},
    {"name": "first_ns", "type": "integer"},
    {"name": "last_ns", "type": "integer"},
    {"name": "sum_rest", "type": "real"}],
   "indices": [["bucket_start"]]}]})";

class SeriesTable {
 public:
  SeriesTable(const SeriesLimits& limits, std::size_t max_series, std::int64_t idle_ns)
      : limits_(limits), max_series_(max_series), idle_ns_(idle_ns) {}

  // `key`: the name, a line feed, the canonical labels. Null if there is no room. The answer is
  // valid until the next call.
  MetricSeries* find_or_make(std::string_view key);
  void note_time(std::int64_t time_ns) { newest_ns_ = std::max(newest_ns_, time_ns); }
  void count_refused(std::size_t points) { refused_points_ += points; }

  // In the order in which they were first seen.
  const std::vector<std::unique_ptr<MetricSeries>>& series() const { return series_; }
  std::uint64_t refused_points() const { return refused_points_; }
  std::uint64_t evicted() const { return evicted_; }
  std::int64_t newest_ns() const { return newest_ns_; }  // INT64_MIN: no point yet

  void save(const Rows& rows, StateWriter& state);
  void read(StateReader& state);  // into an empty table; throws ephor::Error
  // Then the buckets from their rows. False if they are not those of the state.
  bool load_rows(const Host& host);

 private:
  struct DroppedRow {
    std::string name;
    std::string labels_hash;
    std::int64_t resolution_s;
    std::int64_t start_ns;
  };

  MetricSeries& make(std::string_view key);
  bool make_room();

  SeriesLimits limits_;
  std::size_t max_series_;
  std::int64_t idle_ns_;
  std::vector<std::unique_ptr<MetricSeries>> series_;
  std::unordered_map<std::string, MetricSeries*, TextHash, std::equal_to<>> index_;
  std::vector<DroppedRow> dropped_rows_;  // of series that made room
  std::uint64_t refused_points_ = 0;
  std::uint64_t evicted_ = 0;
  std::int64_t newest_ns_ = INT64_MIN;
};

}  // namespace ephor::metrics
