// SPDX-License-Identifier: Apache-2.0
//
// One series (a metric's name and labels): figures over everything seen, the latest points one by
// one, and roll-ups per minute, hour and day. Points go where their event time puts them, whatever
// the order they come in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/metric_batch.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "point_codec.hpp"
#include "rollup_ring.hpp"

namespace ephor::metrics {

// A delta's values are what came since the one before: a counter is their sum.
enum class MetricKind : std::uint8_t { gauge = 0, counter = 1, histogram = 2, delta = 3 };

constexpr std::size_t kResolutionCount = 3;
constexpr std::array<std::int64_t, kResolutionCount> kResolutionsNs{kMinuteNs, kHourNs, kDayNs};

struct SeriesLimits {
  std::size_t history_points = 1000;
  std::array<std::int64_t, kResolutionCount> keep_ns{12 * kHourNs, 14 * kDayNs, 400 * kDayNs};
};

// How fast a counter grew. A value below the one before is a restart from zero.
struct CounterRate {
  double increase = 0.0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::size_t resets = 0;
};

class MetricSeries {
 public:
  MetricSeries(std::string name, std::string labels_json, const SeriesLimits& limits);

  void add(std::int64_t time_ns, double value);
  void set_kind(MetricKind kind) { kind_ = kind; }
  void set_unit(std::string_view unit) {
    if (unit != unit_) unit_ = unit;
  }
  // The newest by event time wins.
  void set_histogram(std::int64_t time_ns, std::vector<MetricBucket> buckets);

  const std::string& name() const { return name_; }
  const std::string& labels_json() const { return labels_json_; }  // canonical: sorted, texts
  const std::string& labels_hash() const { return labels_hash_; }  // 16 hexadecimal digits
  const std::string& unit() const { return unit_; }
  MetricKind kind() const { return kind_; }
  std::uint64_t count() const { return count_; }
  double mean() const { return (sum_ + compensation_) / static_cast<double>(count_); }
  double min() const { return min_; }
  double max() const { return max_; }
  std::int64_t first_ns() const { return first_ns_; }
  MetricPoint latest() const { return latest_; }
  const std::deque<MetricPoint>& history() const { return history_; }
  // The history holds every point there ever was.
  bool is_history_complete() const { return history_.size() == count_; }
  const std::array<RollupRing, kResolutionCount>& rings() const { return rings_; }
  std::array<RollupRing, kResolutionCount>& rings() { return rings_; }
  const std::vector<MetricBucket>& histogram() const { return histogram_; }

  // The value that held at `time_ns`: of the last point at or before it, by the finest means that
  // reach back so far. Empty if that point would be older than `oldest_ns`.
  std::optional<MetricPoint> value_at(std::int64_t time_ns, std::int64_t oldest_ns) const;

  // Whether the bucket can be had from the history: then it needs no row.
  bool is_derivable(const Bucket& bucket) const {
    return is_history_complete() || bucket.start_ns > history_.front().time_ns;
  }

  void write(StateWriter& out) const;  // everything but the buckets: rows, or from the history
  void read(StateReader& in);          // into a fresh series
  // After reading and the rows: the buckets that have none. False if rows are missing.
  bool finish_reading();
  bool is_changed = false;  // buckets, since the last save

 private:
  std::string name_;
  std::string labels_json_;
  std::string labels_hash_;
  std::string unit_;
  MetricKind kind_ = MetricKind::gauge;
  std::size_t history_points_;  // most
  std::uint64_t count_ = 0;
  double sum_ = 0.0;
  double compensation_ = 0.0;  // Neumaier (1974): what rounding has taken from sum_
  double min_ = 0.0;
  double max_ = 0.0;
  std::int64_t first_ns_ = 0;
  MetricPoint latest_;
  std::deque<MetricPoint> history_;  // by time; at one time in log order
  std::array<RollupRing, kResolutionCount> rings_;
  std::vector<MetricBucket> histogram_;
  std::int64_t histogram_ns_ = INT64_MIN;
  std::array<std::size_t, kResolutionCount> saved_row_counts_{};
};

// Whether its values say how something grows.
inline bool is_growing(MetricKind kind) {
  return kind == MetricKind::counter || kind == MetricKind::delta;
}

// How much it grew to `value` since the value before.
inline double growth(MetricKind kind, double before, double value) {
  if (kind == MetricKind::delta) return value;
  return value < before ? value : value - before;
}

// Over points in order of time; empty with fewer than two or no time between them.
template <typename Points>
std::optional<CounterRate> counter_rate(const Points& points,
                                        MetricKind kind = MetricKind::counter) {
  if (points.size() < 2) return std::nullopt;
  CounterRate rate{0.0, points.front().time_ns, points.back().time_ns, 0};
  if (rate.to_ns <= rate.from_ns) return std::nullopt;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const double before = points[i - 1].value;
    const double value = points[i].value;
    if (kind == MetricKind::counter && value < before) ++rate.resets;
    rate.increase += growth(kind, before, value);
  }
  return rate;
}

// The value below which the share `q` of the observations lies, linear inside a bucket (as
// Prometheus' histogram_quantile). Empty without observations; the highest finite bound if the
// quantile lies in an open bucket.
std::optional<double> histogram_quantile(const std::vector<MetricBucket>& buckets, double q);

}  // namespace ephor::metrics
