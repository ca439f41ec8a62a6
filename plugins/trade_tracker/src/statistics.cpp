// SPDX-License-Identifier: Apache-2.0
#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ephor::trade_tracker {
namespace {

std::optional<double> finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<double> mean_of(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  double sum = 0.0;
  for (const double value : values) sum += value;
  return finite(sum / static_cast<double>(values.size()));
}

std::optional<double> deviation_of(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const auto mean = mean_of(values);
  if (!mean) return std::nullopt;
  double squares = 0.0;
  for (const double value : values) squares += (value - *mean) * (value - *mean);
  return finite(std::sqrt(squares / static_cast<double>(values.size() - 1)));
}

std::optional<double> median_of(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  if (sorted.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(sorted.begin(), middle)) / 2.0;
}

std::optional<double> sqn_of(std::span<const double> values) {
  const auto deviation = deviation_of(values);
  if (!deviation || *deviation == 0.0) return std::nullopt;
  return finite(std::sqrt(static_cast<double>(values.size())) * *mean_of(values) / *deviation);
}

std::optional<double> kelly_share(std::optional<double> win_rate, std::optional<double> payoff) {
  if (!win_rate || !payoff || !(*payoff > 0.0)) return std::nullopt;
  return finite(*win_rate - (1.0 - *win_rate) / *payoff);
}

ReturnFigures figures_of(std::span<const double> returns, double periods_per_year) {
  ReturnFigures out;
  if (returns.empty()) return out;
  double growth = 1.0;
  double peak = 1.0;
  double deepest = 0.0;
  double downside = 0.0;
  for (const double value : returns) {
    if (!std::isfinite(value) || value <= -1.0) return {};
    growth *= 1.0 + value;
    peak = std::max(peak, growth);
    deepest = std::min(deepest, growth / peak - 1.0);
    downside += std::min(value, 0.0) * std::min(value, 0.0);
  }
  const auto n = static_cast<double>(returns.size());
  const double annual = std::sqrt(periods_per_year);
  out.total = finite(growth - 1.0);
  out.max_drawdown = deepest;
  out.cagr = finite(std::pow(growth, periods_per_year / n) - 1.0);
  const auto deviation = deviation_of(returns);
  if (!deviation) return out;
  const double mean = *mean_of(returns);
  out.volatility = finite(*deviation * annual);
  if (*deviation > 0.0) out.sharpe = finite(mean / *deviation * annual);
  if (downside > 0.0) out.sortino = finite(mean / std::sqrt(downside / n) * annual);
  return out;
}

}  // namespace ephor::trade_tracker
