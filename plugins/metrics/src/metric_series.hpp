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
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rollup_ring.hpp"

namespace ephor::metrics {

struct MetricPoint {
  std::int64_t time_ns = 0;
  double value = 0.0;
};

// Observations at or below an upper bound, as Prometheus counts them: cumulative.
struct HistogramBucket {
  double upper_bound = 0.0;  // may be infinite
  double count = 0.0;
};

enum class MetricKind : std::uint8_t { gauge = 0, counter = 1, histogram = 2 };

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
  void set_histogram(std::int64_t time_ns, std::vector<HistogramBucket> buckets);

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
  const std::vector<HistogramBucket>& histogram() const { return histogram_; }

  // The value that held at `time_ns`: of the last point at or before it, by the finest means that
  // reach back so far. Empty if that point would be older than `oldest_ns`.
  std::optional<MetricPoint> value_at(std::int64_t time_ns, std::int64_t oldest_ns) const;

  void write(StateWriter& out) const;  // everything but the buckets, which are rows
  void read(StateReader& in);          // into a fresh series
  // How many buckets the state says there are, to be compared after restoring them.
  const std::array<std::size_t, kResolutionCount>& saved_bucket_counts() const {
    return saved_bucket_counts_;
  }

  bool is_changed = false;  // buckets, since the last save

 private:
  std::string name_;
  std::string labels_json_;
  std::string labels_hash_;
  std::string unit_;
  MetricKind kind_ = MetricKind::gauge;
  std::size_t history_points_;
  std::uint64_t count_ = 0;
  double sum_ = 0.0;
  double compensation_ = 0.0;  // Neumaier (1974): what rounding has taken from sum_
  double min_ = 0.0;
  double max_ = 0.0;
  std::int64_t first_ns_ = 0;
  MetricPoint latest_;
  std::deque<MetricPoint> history_;  // by time; at one time in log order
  std::array<RollupRing, kResolutionCount> rings_;
  std::vector<HistogramBucket> histogram_;
  std::int64_t histogram_ns_ = INT64_MIN;
  std::array<std::size_t, kResolutionCount> saved_bucket_counts_{};
};

// Over points in order of time; empty with fewer than two or no time between them.
template <typename Points>
std::optional<CounterRate> counter_rate(const Points& points) {
  if (points.size() < 2) return std::nullopt;
  CounterRate rate{0.0, points.front().time_ns, points.back().time_ns, 0};
  if (rate.to_ns <= rate.from_ns) return std::nullopt;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const double before = points[i - 1].value;
    const double value = points[i].value;
    if (value < before) ++rate.resets;
    rate.increase += value < before ? value : value - before;
  }
  return rate;
}

// The value below which the share `q` of the observations lies, linear inside a bucket (as
// Prometheus' histogram_quantile). Empty without observations; the highest finite bound if the
// quantile lies in an open bucket.
std::optional<double> histogram_quantile(const std::vector<HistogramBucket>& buckets, double q);

}  // namespace ephor::metrics
