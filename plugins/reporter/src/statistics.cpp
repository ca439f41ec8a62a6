// SPDX-License-Identifier: Apache-2.0
#include "statistics.hpp"

#include <cmath>
#include <ephor/wilson.hpp>

namespace ephor::reporter {
std::optional<Interval> wilson(std::int64_t k, std::int64_t n) {
  if (n <= 0 || k < 0 || k > n) return std::nullopt;
  const ephor::Interval interval =
      wilson_interval(static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(n));
  return Interval{interval.low, interval.high};
}

std::optional<Interval> newcombe(std::int64_t k1, std::int64_t n1, std::int64_t k2,
                                 std::int64_t n2) {
  const auto first = wilson(k1, n1);
  const auto second = wilson(k2, n2);
  if (!first || !second) return std::nullopt;
  const double p1 = static_cast<double>(k1) / static_cast<double>(n1);
  const double p2 = static_cast<double>(k2) / static_cast<double>(n2);
  const double change = p2 - p1;
  return Interval{change - std::hypot(p2 - second->first, first->second - p1),
                  change + std::hypot(second->second - p2, p1 - first->first)};
}

}  // namespace ephor::reporter
