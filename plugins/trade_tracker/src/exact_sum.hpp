// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <ephor/state.hpp>
#include <utility>
#include <vector>

namespace ephor::trade_tracker {

// The exact sum of doubles, rounded once when asked. Adding -x takes x out again without a trace,
// and the order of additions does not matter, so money totals are the same live, in a replay and
// after a correction.
//
// Shewchuk (1997), "Adaptive Precision Floating-Point Arithmetic", Discrete Comput. Geom. 18: the
// running sum is kept as non-overlapping partial sums. Rarely more than three of them.
class ExactSum {
 public:
  // `value` must be finite; the total must stay within the range of double.
  void add(double value) {
    std::size_t kept = 0;
    for (double partial : partials_) {
      if (std::abs(value) < std::abs(partial)) std::swap(value, partial);
      const double high = value + partial;
      const double low = partial - (high - value);
      if (low != 0.0) partials_[kept++] = low;
      value = high;
    }
    partials_.resize(kept);
    if (value != 0.0) partials_.push_back(value);
  }

  // The exact sum, correctly rounded (half to even).
  double value() const {
    if (partials_.empty()) return 0.0;
    std::size_t left = partials_.size() - 1;
    double high = partials_[left];
    double low = 0.0;
    while (left > 0 && low == 0.0) {
      const double partial = partials_[--left];
      const double sum = high + partial;
      low = partial - (sum - high);
      high = sum;
    }
    // `low` may be exactly half a unit of `high`: what is below it then decides the direction.
    if (left > 0 && low != 0.0 && (low < 0.0) == (partials_[left - 1] < 0.0)) {
      const double away = high + 2.0 * low;
      if (away - high == 2.0 * low) high = away;
    }
    return high;
  }

  void write(StateWriter& out) const {
    out.varint(partials_.size());
    for (const double partial : partials_) out.f64(partial);
  }
  void read(StateReader& in) {
    partials_.clear();
    for (std::size_t left = in.count(8); left > 0; --left) partials_.push_back(in.f64());
  }

 private:
  std::vector<double> partials_;  // by size, non-overlapping, none zero
};

}  // namespace ephor::trade_tracker
