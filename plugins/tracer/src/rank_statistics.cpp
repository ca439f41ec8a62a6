// SPDX-License-Identifier: Apache-2.0
#include "rank_statistics.hpp"

#include <algorithm>
#include <cmath>

#include <ephor/wilson.hpp>

namespace ephor::tracer {
namespace {

constexpr double kAlmostOne = 0.999999999;

std::vector<std::size_t> order_of(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return values[a] < values[b] || (values[a] == values[b] && a < b);
  });
  return order;
}

double log_choose(std::uint64_t n, std::uint64_t k) {
  return std::lgamma(static_cast<double>(n) + 1.0) - std::lgamma(static_cast<double>(k) + 1.0) -
         std::lgamma(static_cast<double>(n - k) + 1.0);
}

}  // namespace

double two_sided_p(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }

std::vector<double> midranks(std::span<const double> values) {
  const std::vector<std::size_t> order = order_of(values);
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t i = first; i < last; ++i) {
      ranks[order[i]] = static_cast<double>(first + last + 1) / 2.0;
    }
    first = last;
  }
  return ranks;
}

std::optional<RankCorrelation> spearman(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size() || x.size() < kCorrelationMin) return std::nullopt;
  const std::vector<double> a = midranks(x);
  const std::vector<double> b = midranks(y);
  const auto n = static_cast<double>(x.size());
  const double mean = (n + 1.0) / 2.0;
  double products = 0.0;
  double squares_a = 0.0;
  double squares_b = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    products += (a[i] - mean) * (b[i] - mean);
    squares_a += (a[i] - mean) * (a[i] - mean);
    squares_b += (b[i] - mean) * (b[i] - mean);
  }
  if (!(squares_a > 0.0) || !(squares_b > 0.0)) return std::nullopt;
  RankCorrelation out;
  out.n = x.size();
  out.rho = std::clamp(products / std::sqrt(squares_a * squares_b), -1.0, 1.0);
  const double z = std::atanh(std::clamp(out.rho, -kAlmostOne, kAlmostOne));
  const double half = kNormalQuantile975 * std::sqrt((1.0 + out.rho * out.rho / 2.0) / (n - 3.0));
  out.low = std::tanh(z - half);
  out.high = std::tanh(z + half);
  out.p = two_sided_p(z / std::sqrt(1.06 / (n - 3.0)));
  return out;
}

double mann_whitney_p(std::span<const double> a, std::span<const double> b) {
  if (a.empty() || b.empty()) return 1.0;
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const std::vector<double> ranks = midranks(all);
  double rank_sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) rank_sum += ranks[i];
  const auto na = static_cast<double>(a.size());
  const auto nb = static_cast<double>(b.size());
  const double n = na + nb;
  std::sort(all.begin(), all.end());
  double ties = 0.0;
  for (std::size_t first = 0; first < all.size();) {
    std::size_t last = first + 1;
    while (last < all.size() && all[last] == all[first]) ++last;
    const auto t = static_cast<double>(last - first);
    ties += t * t * t - t;
    first = last;
  }
  const double variance = na * nb / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
  if (!(variance > 0.0)) return 1.0;
  const double distance = std::abs(rank_sum - na * (n + 1.0) / 2.0) - 0.5;
  return distance <= 0.0 ? 1.0 : two_sided_p(distance / std::sqrt(variance));
}

double fisher_exact_p(std::uint64_t hits_a, std::uint64_t n_a, std::uint64_t hits_b,
                      std::uint64_t n_b) {
  const std::uint64_t hits = hits_a + hits_b;
  const std::uint64_t n = n_a + n_b;
  const std::uint64_t least = hits > n_b ? hits - n_b : 0;
  const std::uint64_t most = std::min(hits, n_a);
  const double all = log_choose(n, hits);
  const auto log_p = [&](std::uint64_t k) {
    return log_choose(n_a, k) + log_choose(n_b, hits - k) - all;
  };
  // Tables that are equally likely must count however the logarithms were rounded.
  const double limit = log_p(hits_a) + 1e-7;
  double p = 0.0;
  for (std::uint64_t k = least; k <= most; ++k) {
    const double one = log_p(k);
    if (one <= limit) p += std::exp(one);
  }
  return std::min(1.0, p);
}

std::vector<double> false_discovery_rates(std::span<const double> p) {
  const std::vector<std::size_t> order = order_of(p);
  std::vector<double> out(p.size());
  double least = 1.0;
  for (std::size_t i = order.size(); i-- > 0;) {
    const double rate = p[order[i]] * static_cast<double>(p.size()) / static_cast<double>(i + 1);
    least = std::min(least, rate);
    out[order[i]] = least;
  }
  return out;
}

}  // namespace ephor::tracer
