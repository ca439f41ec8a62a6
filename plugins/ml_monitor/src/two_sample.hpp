// SPDX-License-Identifier: Apache-2.0
//
// The two-sample Kolmogorov-Smirnov test.
#pragma once

#include <cstddef>
#include <span>

namespace ephor::ml_monitor {

// The largest distance of the two empirical distribution functions, in [0, 1]. Both samples sorted,
// not empty, without NaN. Ties are taken together. O(n + m).
double ks_statistic(std::span<const double> reference, std::span<const double> current);

// Chance of a greater distance for two samples of one continuous distribution, of independent
// values: the limiting law of Kolmogorov (1933) at sqrt(nm / (n + m)) D. `count_reference` and
// `count_current` may be effective sizes, below the real ones, where values depend on each other.
double ks_p_value(double statistic, double count_reference, double count_current);

// The exact law for finite samples without ties, by counting lattice paths (Hodges 1958).
// O(n m) time, O(m) memory.
double ks_p_value_exact(double statistic, std::size_t count_reference, std::size_t count_current);

}  // namespace ephor::ml_monitor
