// SPDX-License-Identifier: Apache-2.0
#include "regime_filter.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::simulator {

void RegimeFilter::update(double log_return) {
  std::array<double, kRegimeCount> next{};
  double total = 0.0;
  for (std::size_t to = 0; to < kRegimeCount; ++to) {
    double prior = 0.0;
    for (std::size_t from = 0; from < kRegimeCount; ++from) {
      const double leave = 1.0 / kRegimeLaws[from].mean_duration;
      prior += probability_[from] * (from == to ? 1.0 - leave : leave / (kRegimeCount - 1));
    }
    // A jump is no evidence of a regime: beyond 5 standard deviations the density stays flat.
    const RegimeLaw& law = kRegimeLaws[to];
    const double distance = std::min(5.0, std::abs(log_return - law.drift) / law.volatility);
    next[to] = prior * std::exp(-0.5 * distance * distance) / law.volatility;
    total += next[to];
  }
  for (double& value : next) value /= total;
  probability_ = next;
  const auto best = std::max_element(next.begin(), next.end()) - next.begin();
  const auto regime = static_cast<Regime>(best);
  duration_ = regime == regime_ ? duration_ + 1 : 0;
  regime_ = regime;
}

}  // namespace ephor::simulator
