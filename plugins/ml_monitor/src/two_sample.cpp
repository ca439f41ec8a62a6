// SPDX-License-Identifier: Apache-2.0
#include "two_sample.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <vector>

namespace ephor::ml_monitor {

double ks_statistic(std::span<const double> reference, std::span<const double> current) {
  const double n = static_cast<double>(reference.size());
  const double m = static_cast<double>(current.size());
  double most = 0.0;
  for (std::size_t i = 0, j = 0; i < reference.size() && j < current.size();) {
    const double value = std::min(reference[i], current[j]);
    while (i < reference.size() && reference[i] <= value) ++i;
    while (j < current.size() && current[j] <= value) ++j;
    most = std::max(most, std::abs(static_cast<double>(i) / n - static_cast<double>(j) / m));
  }
  return most;
}

double ks_p_value(double statistic, double count_reference, double count_current) {
  const double x =
      statistic * std::sqrt(count_reference * count_current / (count_reference + count_current));
  if (!(x > 0.0)) return 1.0;
  constexpr double kPi = std::numbers::pi;
  if (x < 1.18) {
    // The theta-function form converges fast where the alternating one does not.
    double sum = 0.0;
    for (int k = 1; k <= 20; ++k) {
      const double odd = 2.0 * k - 1.0;
      sum += std::exp(-odd * odd * kPi * kPi / (8.0 * x * x));
    }
    return std::clamp(1.0 - std::sqrt(2.0 * kPi) / x * sum, 0.0, 1.0);
  }
  double sum = 0.0;
  for (int k = 1; k <= 20; ++k) {
    sum += (k % 2 == 1 ? 1.0 : -1.0) * std::exp(-2.0 * k * k * x * x);
  }
  return std::clamp(2.0 * sum, 0.0, 1.0);
}

double ks_p_value_exact(double statistic, std::size_t count_reference, std::size_t count_current) {
  // Paths from (0, 0) to (n, m) that touch |i/n - j/m| >= D, as a share of all: by rows of i, each
  // entry the chance that a random path reaches (i, j) having touched. Distances are multiples of
  // 1/lcm, so half of that is a safe margin.
  const double n = static_cast<double>(count_reference);
  const double m = static_cast<double>(count_current);
  const double margin =
      0.5 / static_cast<double>(std::lcm(static_cast<std::uint64_t>(count_reference),
                                         static_cast<std::uint64_t>(count_current)));
  const auto touches = [&](std::size_t i, std::size_t j) {
    return std::abs(static_cast<double>(i) / n - static_cast<double>(j) / m) >= statistic - margin;
  };
  std::vector<double> row(count_current + 1);
  row[0] = touches(0, 0) ? 1.0 : 0.0;
  for (std::size_t j = 1; j <= count_current; ++j) row[j] = touches(0, j) ? 1.0 : row[j - 1];
  for (std::size_t i = 1; i <= count_reference; ++i) {
    row[0] = touches(i, 0) ? 1.0 : row[0];
    for (std::size_t j = 1; j <= count_current; ++j) {
      // Of the paths to (i, j) a share i / (i + j) comes from (i - 1, j).
      const double from_left = static_cast<double>(i) / static_cast<double>(i + j);
      row[j] = touches(i, j) ? 1.0 : from_left * row[j] + (1.0 - from_left) * row[j - 1];
    }
  }
  return row[count_current];
}

}  // namespace ephor::ml_monitor
