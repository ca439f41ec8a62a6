// SPDX-License-Identifier: Apache-2.0
//
// Intervals beside rates.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

namespace ephor::reporter {

using Interval = std::pair<double, double>;

// Wilson (1927), J. Am. Stat. Assoc. 22, score interval of k of n, 95 %. Empty if n is 0.
std::optional<Interval> wilson(std::int64_t k, std::int64_t n);

// Newcombe (1998), Stat. Med. 17, method 10: interval of k2/n2 - k1/n1 from the two Wilson
// intervals, 95 %. Empty if an n is 0.
std::optional<Interval> newcombe(std::int64_t k1, std::int64_t n1, std::int64_t k2,
                                 std::int64_t n2);

}  // namespace ephor::reporter
