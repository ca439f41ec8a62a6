// SPDX-License-Identifier: Apache-2.0
#include "market.hpp"

#include <algorithm>
#include <cmath>

#include "random.hpp"

namespace ephor::simulator {
namespace {

constexpr double kPullPerStep = 1e-4;      // half-life 6,900 steps
constexpr double kJumpVolatility = 0.004;  // log return

double to_cents(double price) { return std::max(0.01, std::round(price * 100.0) / 100.0); }

Regime next_regime(Regime regime, Random& random) {
  if (!random.chance(1.0 / law_of(regime).mean_duration)) return regime;
  const auto shift = 1 + static_cast<std::size_t>(random.uniform() * (kRegimeCount - 1));
  return static_cast<Regime>((static_cast<std::size_t>(regime) + shift) % kRegimeCount);
}

}  // namespace

Market::Market(std::uint64_t seed, double start_price)
    : seed_(seed), anchor_log_price_(std::log(start_price)), log_price_(anchor_log_price_) {
  while (ahead_.size() < kHorizon + 1) draw();
}

void Market::advance() {
  draw();
  ahead_.pop_front();
}

void Market::draw() {
  Random random(seed_, Stream::market, steps_drawn_++);
  regime_ = next_regime(regime_, random);
  const RegimeLaw& law = law_of(regime_);
  const double open = to_cents(std::exp(log_price_));
  const double diffusion = law.volatility * random.normal();
  const double jump = random.chance(law.jump_probability) ? kJumpVolatility * random.normal() : 0.0;
  const double pull = kPullPerStep * (anchor_log_price_ - log_price_);
  log_price_ += law.drift + diffusion + jump + pull;

  Candle candle;
  candle.regime = regime_;
  candle.open = open;
  candle.close = to_cents(std::exp(log_price_));
  const double wick = 0.6 * law.volatility;
  candle.high = to_cents(std::max(open, candle.close) * (1.0 + wick * std::abs(random.normal())));
  candle.low = to_cents(std::min(open, candle.close) * (1.0 - wick * std::abs(random.normal())));
  const double activity = 1.0 + std::abs(diffusion + jump) / 0.0006;
  candle.volume = std::round(1000.0 * random.log_normal(12.0 * activity, 0.4)) / 1000.0;
  ahead_.push_back(candle);
}

bool Market::is_sound() const {
  return ahead_.size() == kHorizon + 1 && std::abs(log_price_) < 100.0 &&
         std::all_of(ahead_.begin(), ahead_.end(), [](const Candle& candle) {
           return candle.close > 0.0 && candle.open > 0.0 && candle.low > 0.0;
         });
}

}  // namespace ephor::simulator
