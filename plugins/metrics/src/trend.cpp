// SPDX-License-Identifier: Apache-2.0
#include "trend.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "spans.hpp"

namespace ephor::metrics {
namespace {

constexpr double kNormal95 = 1.959963984540054;  // two-sided 95 % of the standard normal

// t(t - 1)(2t + 5) over groups of equal values: what ties take from the variance of Kendall's S.
double tie_correction(std::span<const MetricPoint> points) {
  std::vector<double> values;
  for (const MetricPoint& point : points) values.push_back(point.value);
  std::sort(values.begin(), values.end());
  double correction = 0.0;
  for (auto at = values.begin(); at != values.end();) {
    const auto end = std::upper_bound(at, values.end(), *at);
    const auto tied = static_cast<double>(end - at);
    correction += tied * (tied - 1.0) * (2.0 * tied + 5.0);
    at = end;
  }
  return correction;
}

}  // namespace

std::optional<Trend> theil_sen(std::span<const MetricPoint> points) {
  if (points.size() < kTrendPointsMin) return std::nullopt;
  std::vector<double> slopes;
  slopes.reserve(points.size() * (points.size() - 1) / 2);
  for (std::size_t j = 1; j < points.size(); ++j) {
    for (std::size_t i = 0; i < j; ++i) {
      if (points[j].time_ns <= points[i].time_ns) continue;
      slopes.push_back((points[j].value - points[i].value) /
                       seconds_between(points[i].time_ns, points[j].time_ns));
    }
  }
  if (slopes.empty()) return std::nullopt;
  std::sort(slopes.begin(), slopes.end());
  const std::size_t middle = slopes.size() / 2;
  Trend trend;
  trend.slope_per_s =
      slopes.size() % 2 == 1 ? slopes[middle] : slopes[middle - 1] / 2.0 + slopes[middle] / 2.0;
  trend.points = points.size();
  trend.from_ns = points.front().time_ns;
  trend.to_ns = points.back().time_ns;
  if (points.size() < kIntervalPointsMin) return trend;

  const auto n = static_cast<double>(points.size());
  const double variance = (n * (n - 1.0) * (2.0 * n + 5.0) - tie_correction(points)) / 18.0;
  const double reach = kNormal95 * std::sqrt(std::max(variance, 0.0));
  const auto count = static_cast<double>(slopes.size());
  // Ranks (count - reach) / 2 and (count + reach) / 2 + 1, counted from 1 and rounded outwards.
  const double last = count - 1.0;
  const double low = std::floor((count - reach) / 2.0) - 1.0;
  const double high = std::ceil((count + reach) / 2.0);
  trend.low_per_s = slopes[static_cast<std::size_t>(std::clamp(low, 0.0, last))];
  trend.high_per_s = slopes[static_cast<std::size_t>(std::clamp(high, 0.0, last))];
  return trend;
}

const char* direction_of(const Trend& trend) {
  if (!trend.low_per_s || !trend.high_per_s) return "unknown";
  if (*trend.low_per_s > 0.0) return "rising";
  return *trend.high_per_s < 0.0 ? "falling" : "flat";
}

}  // namespace ephor::metrics
