// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>

#include "market.hpp"

namespace ephor::simulator {

inline constexpr std::size_t kFeatureCount = 10;
inline constexpr std::array<std::string_view, kFeatureCount> kFeatureNames{
    "ret_1",   "ret_5",  "ret_15",    "ret_60",   "vol_30",
    "vol_120", "rsi_14", "range_pct", "volume_z", "ema_gap"};
// About one standard deviation of each over a long run: the unit of feature drift.
inline constexpr std::array<double, kFeatureCount> kFeatureScales{
    0.0009, 0.002, 0.0038, 0.0094, 0.0004, 0.0003, 19.0, 0.001, 1.0, 0.0028};

using Features = std::array<double, kFeatureCount>;

// The latest candles and what is computed from them. Returns are simple, rsi_14 is the mean form in
// [0, 100], volume_z is over 60 candles, ema_gap is (EMA 12 - EMA 48) / close.
class FeatureWindow {
 public:
  static constexpr std::size_t kCapacity = 121;

  void add(const Candle& candle);
  bool is_full() const { return candles_.size() == kCapacity; }
  Features compute() const;  // needs is_full()

  template <typename Archive>
  void visit(Archive& archive) {
    archive(candles_, fast_, slow_);
  }
  bool is_sound() const;

 private:
  double close(std::size_t back) const { return candles_[candles_.size() - 1 - back].close; }
  double return_over(std::size_t steps) const { return close(0) / close(steps) - 1.0; }
  double volatility(std::size_t steps) const;
  double relative_strength(std::size_t steps) const;
  double volume_score(std::size_t steps) const;

  std::deque<Candle> candles_;  // [kCapacity], the back is now
  double fast_ = 0.0;
  double slow_ = 0.0;
};

}  // namespace ephor::simulator
