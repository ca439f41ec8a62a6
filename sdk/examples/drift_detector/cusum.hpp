// SPDX-License-Identifier: Apache-2.0
//
// Two-sided tabular CUSUM of standardised values (Page 1954, Biometrika 41; Montgomery,
// Introduction to Statistical Quality Control, section "The tabular or algorithmic CUSUM").
//
//   C+ = max(0, C+ + z - k)    C- = max(0, C- - z - k)    alarm when one passes h
//
// z is measured in standard deviations of a reference: the first values of the series. With k = 0.5
// and h = 5 a series that stays as it was alarms once in 465 values, one whose mean moved by one
// standard deviation after 10.4 (Montgomery's tables, known mean and deviation). What the reference
// gets wrong by chance comes on top: 200 values leave the mean uncertain by 0.07 deviations.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace drift {

class Cusum {
 public:
  struct Settings {
    std::uint32_t reference_count = 200;  // values the reference is made of; at least 2
    double slack = 0.5;                   // k: half of the shift worth finding
    double limit = 5.0;                   // h
  };
  enum class Alarm { none, rise, fall };

  // One value at an event time. O(1). An alarm starts both sums again at 0.
  Alarm update(const Settings& settings, double value, std::int64_t time_ns) {
    // A reference without any variation has no scale: it goes on.
    if (count_ < settings.reference_count || squares_ <= 0.0) {
      learn(value);
      return Alarm::none;
    }
    const double z = (value - mean_) / deviation();
    step(rise_, z - settings.slack, time_ns);
    step(fall_, -z - settings.slack, time_ns);
    const Side& greater = rise_.sum >= fall_.sum ? rise_ : fall_;
    if (greater.sum <= settings.limit) return Alarm::none;
    onset_ns_ = greater.since_ns;
    const Alarm alarm = &greater == &rise_ ? Alarm::rise : Alarm::fall;
    rise_ = fall_ = {};
    return alarm;
  }

  double mean() const { return mean_; }  // of the reference
  double deviation() const { return std::sqrt(squares_ / static_cast<double>(count_ - 1)); }
  // Of the last alarm: the first value since the sum was 0, which is the likeliest time of change.
  std::int64_t onset_ns() const { return onset_ns_; }

  template <typename Visitor>
  void visit(Visitor&& field) {
    field(count_), field(mean_), field(squares_), field(rise_.sum), field(rise_.since_ns);
    field(fall_.sum), field(fall_.since_ns), field(onset_ns_);
  }

 private:
  struct Side {
    double sum = 0.0;
    std::int64_t since_ns = 0;
  };

  void learn(double value) {  // Welford
    ++count_;
    const double away = value - mean_;
    mean_ += away / static_cast<double>(count_);
    squares_ += away * (value - mean_);
  }
  static void step(Side& side, double increment, std::int64_t time_ns) {
    if (side.sum == 0.0) side.since_ns = time_ns;
    side.sum = std::max(0.0, side.sum + increment);
  }

  std::uint64_t count_ = 0;
  double mean_ = 0.0;
  double squares_ = 0.0;
  Side rise_;
  Side fall_;
  std::int64_t onset_ns_ = 0;
};

}  // namespace drift
