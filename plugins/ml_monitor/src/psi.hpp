// SPDX-License-Identifier: Apache-2.0
//
// Population stability index: how far shares of bins have moved, in nats. The value depends on the
// binning, so the binning is a parameter and belongs beside the value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ephor::ml_monitor {

enum class Binning : std::uint8_t {
  kReferenceQuantiles,  // edges at the reference's quantiles (linear interpolation)
  kEqualWidth           // edges at equal distances over the range of both samples
};
std::string_view name_of(Binning binning);

struct PsiForm {
  Binning binning = Binning::kReferenceQuantiles;
  std::size_t bins = 10;
  double epsilon = 1e-4;  // least share of a bin; shares are not normalised again
};

// Interior edges, increasing, without repeats; fewer than bins - 1 where values are tied. Samples
// sorted and not empty.
std::vector<double> psi_edges(std::span<const double> reference, std::span<const double> current,
                              const PsiForm& form);

// How many values of a sorted sample lie in each bin; bin = number of edges <= value.
std::vector<std::size_t> bin_counts(std::span<const double> sorted, std::span<const double> edges);

// Sum over bins of (q - p) ln(q / p), p the reference's share.
double psi(std::span<const std::size_t> reference, std::span<const std::size_t> current,
           double epsilon);
double psi(std::span<const double> reference, std::span<const double> current, const PsiForm& form);

// The quantile of a sorted sample, interpolated linearly between its order statistics.
double sorted_quantile(std::span<const double> sorted, double share);

}  // namespace ephor::ml_monitor
