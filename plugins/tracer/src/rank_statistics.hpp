// SPDX-License-Identifier: Apache-2.0
//
// Tests that ask little of the numbers: ranks and counts. Durations have heavy tails and profits
// have worse ones, so nothing here assumes a normal distribution.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ephor::tracer {

// Probability that |Z| of a standard normal is at least |z|.
double two_sided_p(double z);

// Ranks from 1, ties share the mean of theirs. NaN must not be among the values.
std::vector<double> midranks(std::span<const double> values);

struct RankCorrelation {
  std::size_t n = 0;
  double rho = 0.0;
  double low = 0.0;  // 95 % interval
  double high = 0.0;
  double p = 1.0;  // of no association, two-sided
};

// Spearman's rank correlation: Pearson's of midranks. The interval is that of Bonett and Wright
// (2000, Psychometrika 65): Fisher's z with variance (1 + rho^2 / 2) / (n - 3); p is by Fieller,
// Hartley and Pearson (1957, Biometrika 44): variance 1.06 / (n - 3). Empty below kCorrelationMin
// pairs, or where one side has one value only.
inline constexpr std::size_t kCorrelationMin = 10;
std::optional<RankCorrelation> spearman(std::span<const double> x, std::span<const double> y);

// p of Mann and Whitney's U (1947), two-sided, normal approximation with the correction for ties
// and for continuity. 1 where a side is empty or all values are the same.
double mann_whitney_p(std::span<const double> a, std::span<const double> b);

// p of Fisher's exact test of the table {hits_a of n_a, hits_b of n_b}, two-sided: all tables of
// the same margins that are no likelier. O(hits).
double fisher_exact_p(std::uint64_t hits_a, std::uint64_t n_a, std::uint64_t hits_b,
                      std::uint64_t n_b);

// Benjamini and Hochberg (1995): the false discovery rate at which each would just be found, in the
// order of `p`. Monotone, at most 1.
std::vector<double> false_discovery_rates(std::span<const double> p);

}  // namespace ephor::tracer
