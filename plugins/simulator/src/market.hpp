// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>

namespace ephor::simulator {

enum class Regime : std::uint8_t { bull_trend, bear_trend, sideways, high_volatility, count };
inline constexpr std::size_t kRegimeCount = static_cast<std::size_t>(Regime::count);
inline constexpr std::array<std::string_view, kRegimeCount> kRegimeNames{
    "bull_trend", "bear_trend", "sideways", "high_volatility"};
inline std::string_view name_of(Regime regime) {
  return kRegimeNames[static_cast<std::size_t>(regime)];
}

// Log returns per step while a regime holds; `mean_duration` in steps. One step is a market minute
// whatever wall time passes between two steps.
struct RegimeLaw {
  double drift;
  double volatility;
  double mean_duration;
  double jump_probability;
};
inline constexpr std::array<RegimeLaw, kRegimeCount> kRegimeLaws{{
    {+0.00015, 0.0006, 120.0, 0.001},
    {-0.00016, 0.0007, 110.0, 0.002},
    {0.0, 0.0005, 140.0, 0.0005},
    {0.0, 0.0016, 60.0, 0.008},
}};
inline const RegimeLaw& law_of(Regime regime) {
  return kRegimeLaws[static_cast<std::size_t>(regime)];
}

struct Candle {
  double open = 0.0;
  double high = 0.0;
  double low = 0.0;
  double close = 0.0;  // all in quote currency, whole cents
  double volume = 0.0;
  Regime regime = Regime::sideways;  // the hidden state that made it

  template <typename Archive>
  void visit(Archive& archive) {
    archive(open, high, low, close, volume, regime);
  }
};

// A market with hidden regimes (a Markov chain), jumps, and a weak pull back to where it started
// (without it the price of a demo that runs for weeks would wander off to zero or infinity).
//
// It is drawn `kHorizon` steps ahead of what is shown: the models of a simulation get their skill
// by looking there (see models.hpp).
class Market {
 public:
  static constexpr std::size_t kHorizon = 5;

  Market(std::uint64_t seed, double start_price);

  void advance();  // to the next step
  const Candle& candle() const { return ahead_.front(); }
  // Close of `kHorizon` steps ahead over the close now, less 1.
  double future_return() const { return ahead_.back().close / ahead_.front().close - 1.0; }

  template <typename Archive>
  void visit(Archive& archive) {
    archive(seed_, anchor_log_price_, log_price_, regime_, steps_drawn_, ahead_);
  }
  bool is_sound() const;

 private:
  void draw();

  std::uint64_t seed_;
  double anchor_log_price_;
  double log_price_;
  Regime regime_ = Regime::sideways;
  std::uint64_t steps_drawn_ = 0;
  std::deque<Candle> ahead_;  // [kHorizon + 1], the front is now
};

}  // namespace ephor::simulator
