// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "rank_statistics.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;

namespace {

// Pearson's correlation of ranks counted one by one.
double slow_spearman(const std::vector<double>& x, const std::vector<double>& y) {
  const auto rank = [](const std::vector<double>& values, double value) {
    double below = 0;
    double same = 0;
    for (const double other : values) {
      below += other < value ? 1 : 0;
      same += other == value ? 1 : 0;
    }
    return below + (same + 1) / 2;
  };
  double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = rank(x, x[i]);
    const double b = rank(y, y[i]);
    sx += a;
    sy += b;
    sxx += a * a;
    syy += b * b;
    sxy += a * b;
  }
  const auto n = static_cast<double>(x.size());
  return (n * sxy - sx * sy) / std::sqrt((n * sxx - sx * sx) * (n * syy - sy * sy));
}

double choose(int n, int k) {
  double out = 1;
  for (int i = 1; i <= k; ++i) out = out * (n - k + i) / i;
  return out;
}

}  // namespace

TEST_CASE("statistics: Spearman's correlation is Pearson's of counted ranks", "[unit][tracing]") {
  std::mt19937_64 random(3);
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = 10 + random() % 60;
    std::vector<double> x;
    std::vector<double> y;
    for (std::size_t i = 0; i < n; ++i) {
      x.push_back(static_cast<double>(random() % 20));  // many ties
      y.push_back(x.back() * static_cast<double>(round % 3) + static_cast<double>(random() % 15));
    }
    const auto found = spearman(x, y);
    REQUIRE(found);
    REQUIRE(found->rho == Approx(slow_spearman(x, y)).margin(1e-12));
    REQUIRE(found->low <= found->rho);
    REQUIRE(found->high >= found->rho);
    REQUIRE(found->n == n);
  }
  // Monotone is 1 whatever the curve; the interval by hand: z +- 1.96 sqrt(1.5 / 17).
  std::vector<double> x(20);
  std::iota(x.begin(), x.end(), 1.0);
  std::vector<double> y;
  for (const double one : x) y.push_back(-std::exp(one));
  REQUIRE(spearman(x, y)->rho == Approx(-1.0));
  REQUIRE(spearman(x, y)->p < 1e-6);
  REQUIRE_FALSE(spearman(x, std::vector<double>(20, 4.0)));
  REQUIRE_FALSE(spearman(std::vector<double>(9, 1.0), std::vector<double>(9, 1.0)));
}

TEST_CASE("statistics: intervals of the correlation cover at their level", "[unit][tracing]") {
  // Bivariate normal with r: Spearman's rho is 6/pi asin(r/2) (Pearson 1907).
  std::mt19937_64 random(4);
  std::normal_distribution<double> normal;
  const double r = 0.5;
  const double rho = 6.0 / M_PI * std::asin(r / 2.0);
  int covered = 0;
  int rejected_null = 0;
  constexpr int kRounds = 2000;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> x;
    std::vector<double> y;
    std::vector<double> other;
    for (int i = 0; i < 40; ++i) {
      x.push_back(normal(random));
      y.push_back(r * x.back() + std::sqrt(1 - r * r) * normal(random));
      other.push_back(normal(random));
    }
    const auto found = spearman(x, y);
    covered += found->low <= rho && rho <= found->high ? 1 : 0;
    rejected_null += spearman(x, other)->p < 0.05 ? 1 : 0;
  }
  // Four standard errors of a binomial around 95 % and 5 %, and a point for the approximation.
  REQUIRE(covered / double(kRounds) > 0.95 - 0.0195 - 0.01);
  REQUIRE(covered / double(kRounds) < 0.95 + 0.0195 + 0.01);
  REQUIRE(rejected_null / double(kRounds) > 0.05 - 0.0195 - 0.01);
  REQUIRE(rejected_null / double(kRounds) < 0.05 + 0.0195 + 0.01);
}

TEST_CASE("statistics: Fisher's exact test, against all tables written out", "[unit][tracing]") {
  // Fisher's tea: 3 of 4 against 1 of 4 is 34/70 two-sided.
  REQUIRE(fisher_exact_p(3, 4, 1, 4) == Approx(34.0 / 70.0));
  for (int na = 1; na <= 9; ++na) {
    for (int nb = 1; nb <= 9; ++nb) {
      for (int a = 0; a <= na; ++a) {
        for (int b = 0; b <= nb; ++b) {
          const double all = choose(na + nb, a + b);
          const double seen = choose(na, a) * choose(nb, b);
          double p = 0;
          for (int k = 0; k <= na; ++k) {
            const int rest = a + b - k;
            if (rest < 0 || rest > nb) continue;
            const double one = choose(na, k) * choose(nb, rest);
            if (one <= seen * (1 + 1e-9)) p += one / all;
          }
          REQUIRE(fisher_exact_p(a, na, b, nb) == Approx(p).margin(1e-9));
        }
      }
    }
  }
}

TEST_CASE("statistics: Mann and Whitney's test, against every split of the values",
          "[unit][tracing]") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 12; ++round) {
    std::vector<double> values;
    for (int i = 0; i < 14; ++i) values.push_back(static_cast<double>(random() % 40));
    const auto statistic = [&](unsigned split) {
      double u = 0;
      for (int i = 0; i < 14; ++i) {
        for (int j = 0; j < 14; ++j) {
          if ((split >> i & 1U) == 0 || (split >> j & 1U) != 0) continue;
          u += values[i] > values[j] ? 1 : values[i] == values[j] ? 0.5 : 0;
        }
      }
      return std::abs(u - 24.5);
    };
    const double seen = statistic(0x7F);
    double as_far = 0;
    double all = 0;
    for (unsigned split = 0; split < 1U << 14; ++split) {
      if (__builtin_popcount(split) != 7) continue;
      all += 1;
      as_far += statistic(split) >= seen - 1e-9 ? 1 : 0;
    }
    const std::vector<double> a(values.begin(), values.begin() + 7);
    const std::vector<double> b(values.begin() + 7, values.end());
    // The normal approximation at seven against seven is good to a few hundredths.
    REQUIRE(mann_whitney_p(a, b) == Approx(as_far / all).margin(0.03));
  }
  REQUIRE(mann_whitney_p(std::vector<double>(9, 1.0), std::vector<double>(9, 1.0)) == 1.0);
  REQUIRE(mann_whitney_p({}, std::vector<double>(9, 1.0)) == 1.0);
}

TEST_CASE("statistics: false discovery rates are those of Benjamini and Hochberg's definition",
          "[unit][tracing]") {
  std::mt19937_64 random(6);
  for (int round = 0; round < 30; ++round) {
    std::vector<double> p;
    for (std::size_t i = 0; i < 1 + random() % 25; ++i) {
      p.push_back(static_cast<double>(random() % 1000) / 1000.0);
    }
    const std::vector<double> rates = false_discovery_rates(p);
    // What the step-up procedure rejects at level q is what has a rate of at most q.
    for (const double q : {0.01, 0.05, 0.2, 0.5, 0.9}) {
      std::vector<double> sorted = p;
      std::sort(sorted.begin(), sorted.end());
      double limit = -1;
      for (std::size_t k = 1; k <= sorted.size(); ++k) {
        if (sorted[k - 1] <= q * double(k) / double(sorted.size()) + 1e-12) limit = sorted[k - 1];
      }
      for (std::size_t i = 0; i < p.size(); ++i) {
        REQUIRE((rates[i] <= q + 1e-9) == (p[i] <= limit));
      }
    }
  }
}
