// SPDX-License-Identifier: Apache-2.0
#include "features.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::simulator {

void FeatureWindow::add(const Candle& candle) {
  if (candles_.empty()) fast_ = slow_ = candle.close;
  fast_ += 2.0 / 13.0 * (candle.close - fast_);
  slow_ += 2.0 / 49.0 * (candle.close - slow_);
  candles_.push_back(candle);
  if (candles_.size() > kCapacity) candles_.pop_front();
}

Features FeatureWindow::compute() const {
  const Candle& now = candles_.back();
  return {return_over(1),        return_over(5),
          return_over(15),       return_over(60),
          volatility(30),        volatility(120),
          relative_strength(14), (now.high - now.low) / now.close,
          volume_score(60),      (fast_ - slow_) / now.close};
}

double FeatureWindow::volatility(std::size_t steps) const {
  double sum = 0.0;
  double squares = 0.0;
  for (std::size_t back = 0; back < steps; ++back) {
    const double change = close(back) / close(back + 1) - 1.0;
    sum += change;
    squares += change * change;
  }
  const auto count = static_cast<double>(steps);
  return std::sqrt(std::max(0.0, (squares - sum * sum / count) / (count - 1.0)));
}

double FeatureWindow::relative_strength(std::size_t steps) const {
  double gain = 0.0;
  double loss = 0.0;
  for (std::size_t back = 0; back < steps; ++back) {
    const double change = close(back) - close(back + 1);
    (change > 0.0 ? gain : loss) += std::abs(change);
  }
  return gain + loss == 0.0 ? 50.0 : 100.0 * gain / (gain + loss);
}

double FeatureWindow::volume_score(std::size_t steps) const {
  double sum = 0.0;
  double squares = 0.0;
  for (std::size_t back = 0; back < steps; ++back) {
    const double volume = candles_[candles_.size() - 1 - back].volume;
    sum += volume;
    squares += volume * volume;
  }
  const auto count = static_cast<double>(steps);
  const double mean = sum / count;
  const double deviation = std::sqrt(std::max(0.0, squares / count - mean * mean));
  return deviation == 0.0 ? 0.0 : (candles_.back().volume - mean) / deviation;
}

bool FeatureWindow::is_sound() const {
  return is_full() && std::all_of(candles_.begin(), candles_.end(),
                                  [](const Candle& candle) { return candle.close > 0.0; });
}

}  // namespace ephor::simulator
