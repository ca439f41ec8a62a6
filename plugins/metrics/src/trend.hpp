// SPDX-License-Identifier: Apache-2.0
//
// Where a series is heading: the Theil-Sen slope, the median of the slopes between all pairs of
// points, which up to 29 % of outliers cannot move far, with its 95 % interval from Kendall's
// statistic (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", J. Am.
// Stat. Assoc. 63(324)). The interval takes the points as independent around the line; where
// neighbours are alike it is too narrow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "metric_series.hpp"

namespace ephor::metrics {

struct Trend {
  double slope_per_s = 0.0;
  // Only with at least kIntervalPointsMin points, below which the normal approximation is poor.
  std::optional<double> low_per_s;
  std::optional<double> high_per_s;
  std::size_t points = 0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
};

constexpr std::size_t kTrendPointsMin = 3;
constexpr std::size_t kIntervalPointsMin = 10;

// `points` in order of time. Empty with fewer than kTrendPointsMin points or no two at different
// times. O(n^2) time and memory.
std::optional<Trend> theil_sen(std::span<const MetricPoint> points);

// "rising" or "falling" if the interval excludes zero, "flat" if not, "unknown" without one.
const char* direction_of(const Trend& trend);

}  // namespace ephor::metrics
