// SPDX-License-Identifier: Apache-2.0
//
// The account's equity as the client tells it (ephor.metric), one summary a UTC day. Which value
// ends a day is decided by event times alone, so late samples fall into place and no order matters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::trade_tracker {

struct EquitySample {
  std::int64_t time_ns = 0;
  double value = 0.0;
};

struct EquityDay {
  EquitySample first;
  EquitySample last;
  EquitySample lowest;
  EquitySample highest;
};

inline constexpr std::int64_t kDayNs = 86'400'000'000'000;
std::int64_t day_of(std::int64_t time_ns);  // days since the epoch, floor

class EquityDays {
 public:
  static constexpr std::size_t kAccountsMax = 64;

  explicit EquityDays(std::size_t days_max) : days_max_(days_max) {}

  // `account`: whose equity it is, as the dimensions account, strategy and environment tell.
  void add(std::string_view account, EquitySample sample);

  bool is_empty() const { return days_.empty(); }
  // Of several accounts no single figure is told: they must not be mixed.
  bool is_ambiguous() const { return accounts_.size() > 1; }
  const std::map<std::int64_t, EquityDay>& days() const { return days_; }
  std::optional<EquitySample> first() const;
  std::optional<EquitySample> last() const;
  // The last value before `time_ns`, to whole days: what the day before ended with.
  std::optional<double> at_end_before(std::int64_t day) const;
  std::uint64_t sample_count() const { return sample_count_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t days_max_;
  std::map<std::int64_t, EquityDay> days_;
  std::vector<std::uint64_t> accounts_;  // hashes, sorted
  std::uint64_t sample_count_ = 0;
};

// Simple returns from day to day over [first_day, last_day]: the first against `base`, days without
// a value count as 0. Empty if a value to divide by is not above 0.
std::vector<double> daily_returns(const std::map<std::int64_t, double>& closes,
                                  std::int64_t first_day, std::int64_t last_day, double base);

}  // namespace ephor::trade_tracker
