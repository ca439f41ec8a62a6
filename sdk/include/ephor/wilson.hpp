// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

namespace ephor {

struct Interval {
  double low = 0.0;
  double high = 1.0;
};

inline constexpr double kNormalQuantile975 = 1.959963984540054;

// Wilson (1927) score interval of a proportion: it stays inside [0, 1] and holds its level at small
// counts, where the normal interval does not. `z`: quantile of the standard normal, by default that
// of a 95 % interval. `hits` <= `trials`; [0, 1] where nothing was tried.
inline Interval wilson_interval(std::uint64_t hits, std::uint64_t trials,
                                double z = kNormalQuantile975) {
  if (trials == 0) return {};
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(hits) / n;
  const double square = z * z / n;
  const double centre = (p + square / 2.0) / (1.0 + square);
  const double half = z / (1.0 + square) * std::sqrt(p * (1.0 - p) / n + square / (4.0 * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

// The same at 95 %; empty where nothing was tried.
inline std::optional<Interval> wilson_95(std::uint64_t hits, std::uint64_t trials) {
  if (trials == 0) return std::nullopt;
  return wilson_interval(hits, trials);
}

}  // namespace ephor
