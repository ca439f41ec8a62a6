// SPDX-License-Identifier: Apache-2.0
//
// Figures with an exact definition each; empty where it says nothing (too few values, nothing to
// divide by, a result that is no number). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace ephor::trade_tracker {

std::optional<double> mean_of(std::span<const double> values);
// ddof 1. Empty below two values.
std::optional<double> deviation_of(std::span<const double> values);
// Mean of the middle two where their number is even. Sorts nothing of the caller's.
std::optional<double> median_of(std::span<const double> values);

// System quality number: sqrt(n) x mean / deviation (ddof 1). Empty if all values are the same.
std::optional<double> sqn_of(std::span<const double> values);

// p - (1 - p) / payoff: the share of capital of Kelly (1956) for a bet that wins `payoff` for 1.
std::optional<double> kelly_share(std::optional<double> win_rate, std::optional<double> payoff);

// Of simple returns of equal periods, `periods_per_year` of them a year.
struct ReturnFigures {
  std::optional<double> total;         // prod(1 + r) - 1
  std::optional<double> sharpe;        // mean / deviation (ddof 1) x sqrt(P), risk-free rate 0
  std::optional<double> sortino;       // mean / sqrt(mean of min(r, 0)^2 over all) x sqrt(P)
  std::optional<double> volatility;    // deviation x sqrt(P)
  std::optional<double> cagr;          // prod(1 + r)^(P / n) - 1
  std::optional<double> max_drawdown;  // of the compounded curve that starts at 1; <= 0
};
// Everything is empty if one of the returns is not finite or at or below -1.
ReturnFigures figures_of(std::span<const double> returns, double periods_per_year);

}  // namespace ephor::trade_tracker
