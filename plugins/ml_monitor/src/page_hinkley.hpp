// SPDX-License-Identifier: Apache-2.0
//
// Page-Hinkley test: how far the cumulative deviation from the running mean has come from its
// extreme. Page (1954), Biometrika 41; with the forgetting factor `alpha` and both directions as
// common stream-learning libraries have it. An alarm starts afresh with the next value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ephor/state.hpp>
#include <limits>

namespace ephor::ml_monitor {

class PageHinkley {
 public:
  struct Limits {
    std::uint32_t values_min = 30;
    double delta = 0.005;     // deviation that is tolerated, in units of the values
    double threshold = 50.0;  // in units of the values
    double alpha = 0.9999;
  };

  PageHinkley() = default;
  explicit PageHinkley(const Limits& limits) : limits_(limits) {}

  // True where the mean has changed; O(1).
  bool update(double value) {
    if (is_alarmed_) *this = PageHinkley(limits_);
    ++count_;
    mean_ += (value - mean_) / static_cast<double>(count_);
    const double deviation = value - mean_;
    up_ = limits_.alpha * up_ + deviation - limits_.delta;
    down_ = limits_.alpha * down_ + deviation + limits_.delta;
    up_least_ = std::min(up_least_, up_);
    down_most_ = std::max(down_most_, down_);
    is_alarmed_ =
        count_ >= limits_.values_min && (rise() > limits_.threshold || fall() > limits_.threshold);
    return is_alarmed_;
  }

  std::uint64_t count() const { return count_; }
  double mean() const { return mean_; }
  double rise() const { return count_ == 0 ? 0.0 : up_ - up_least_; }
  double fall() const { return count_ == 0 ? 0.0 : down_most_ - down_; }
  double threshold() const { return limits_.threshold; }

  void save(StateWriter& out) const {
    out.varint(count_).f64(mean_).f64(up_).f64(down_).f64(up_least_).f64(down_most_);
    out.boolean(is_alarmed_);
  }
  void load(StateReader& in) {
    count_ = in.varint();
    for (double* value : {&mean_, &up_, &down_, &up_least_, &down_most_}) *value = in.f64();
    is_alarmed_ = in.boolean();
  }

 private:
  Limits limits_;
  std::uint64_t count_ = 0;
  double mean_ = 0.0;
  double up_ = 0.0;
  double down_ = 0.0;
  double up_least_ = std::numeric_limits<double>::infinity();
  double down_most_ = -std::numeric_limits<double>::infinity();
  bool is_alarmed_ = false;
};

}  // namespace ephor::ml_monitor
