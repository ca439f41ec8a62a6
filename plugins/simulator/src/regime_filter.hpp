// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "market.hpp"

namespace ephor::simulator {

// What the strategist believes about the hidden regime: the forward filter of the market's Markov
// chain (Hamilton 1989, Econometrica 57(2)) on observed log returns. It knows the laws, not the
// state, so it is late and sometimes wrong.
class RegimeFilter {
 public:
  RegimeFilter() { probability_.fill(1.0 / kRegimeCount); }

  void update(double log_return);
  Regime regime() const { return regime_; }
  double confidence() const { return probability_[static_cast<std::size_t>(regime_)]; }
  const std::array<double, kRegimeCount>& probability() const { return probability_; }
  std::uint64_t duration() const { return duration_; }  // updates since `regime` last changed

  template <typename Archive>
  void visit(Archive& archive) {
    archive(probability_, regime_, duration_);
  }

 private:
  std::array<double, kRegimeCount> probability_;
  Regime regime_ = Regime::sideways;
  std::uint64_t duration_ = 0;
};

}  // namespace ephor::simulator
