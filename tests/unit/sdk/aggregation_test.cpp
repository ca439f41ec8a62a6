// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <ephor/aggregation.hpp>
#include <ephor/state.hpp>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace ephor::aggregation;

namespace {

using Weights = std::vector<double>;

Weights weights_of(const ExponentialWeights& rule, const std::vector<std::uint8_t>& awake = {}) {
  Weights out(rule.expert_count());
  rule.weights(awake, out);
  return out;
}

void check_simplex(const Weights& weights) {
  for (const double weight : weights) {
    REQUIRE(weight >= 0.0);
    REQUIRE(weight <= 1.0 + 1e-12);
  }
  REQUIRE(std::abs(std::accumulate(weights.begin(), weights.end(), 0.0) - 1.0) <= 1e-12);
}

}  // namespace

TEST_CASE("exponential weights: two rounds by hand", "[unit][aggregation]") {
  ExponentialWeights rule({.learning_rate = 2.0, .share = 0.0}, 2);
  CHECK(weights_of(rule) == Weights{0.5, 0.5});
  rule.update(std::vector{0.0, 1.0}, 0.5);
  // e^0 against e^-2.
  CHECK(weights_of(rule)[0] == Approx(1.0 / (1.0 + std::exp(-2.0))).epsilon(1e-14));
  rule.update(std::vector{0.5, 0.25}, 0.3);
  CHECK(weights_of(rule)[0] == Approx(1.0 / (1.0 + std::exp(-1.5))).epsilon(1e-14));
}

TEST_CASE("exponential weights: fixed share leaves everybody its part", "[unit][aggregation]") {
  ExponentialWeights rule({.learning_rate = 1.0, .share = 0.1}, 2);
  rule.update(std::vector{0.0, 1.0}, 0.5);
  const double kept = 1.0 / (1.0 + std::exp(-1.0));
  CHECK(weights_of(rule)[0] == Approx(0.05 + 0.9 * kept).epsilon(1e-14));
  for (int i = 0; i < 2'000; ++i) rule.update(std::vector{0.0, 1.0}, 0.5);
  CHECK(weights_of(rule)[1] >= 0.05);
}

TEST_CASE("exponential weights: who sleeps has no weight and keeps its place",
          "[unit][aggregation]") {
  ExponentialWeights rule({.learning_rate = 1.0, .share = 0.0}, 3);
  const std::vector<std::uint8_t> awake{1, 0, 1};
  CHECK(weights_of(rule, awake) == Weights{0.5, 0.0, 0.5});
  rule.update(std::vector{0.0, 99.0, 1.0}, 0.5, awake);
  // Against the loss of the mix: +0.5, 0, -0.5.
  const Weights now = weights_of(rule);
  CHECK(now[0] / now[1] == Approx(std::exp(0.5)).epsilon(1e-14));
  CHECK(now[1] / now[2] == Approx(std::exp(0.5)).epsilon(1e-14));
  CHECK(weights_of(rule, {0, 0, 0}) == Weights{0.0, 0.0, 0.0});
}

TEST_CASE("exponential weights: experts join with 1/N and leave in proportion",
          "[unit][aggregation]") {
  ExponentialWeights rule({.learning_rate = 1.0, .share = 0.0}, 2);
  rule.update(std::vector{0.0, 1.0}, 0.5);
  const Weights before = weights_of(rule);
  CHECK(rule.join() == 2);
  const Weights joined = weights_of(rule);
  CHECK(joined[2] == Approx(1.0 / 3.0).epsilon(1e-14));
  CHECK(joined[0] / joined[1] == Approx(before[0] / before[1]).epsilon(1e-13));
  rule.leave(0);
  const Weights left = weights_of(rule);
  REQUIRE(left.size() == 2);
  CHECK(left[1] / left[0] == Approx(joined[2] / joined[1]).epsilon(1e-13));
  ExponentialWeights empty({});
  CHECK(empty.join() == 0);
  CHECK(weights_of(empty) == Weights{1.0});
}

TEST_CASE("exponential weights: huge, equal and missing losses stay on the simplex",
          "[unit][aggregation]") {
  for (const double share : {0.0, 0.01}) {
    ExponentialWeights rule({.learning_rate = 1.0, .share = share}, 3);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinite = std::numeric_limits<double>::infinity();
    const std::vector<std::vector<double>> rounds{
        {1e12, 0.0, 1e12},          {0.5, 0.5, 0.5},       {nan, 0.2, 0.4},   {-1e12, 1e12, 0.0},
        {infinite, 0.0, -infinite}, {1e300, 1e300, 1e300}, {0.0, 1e-300, 0.0}};
    for (int repeat = 0; repeat < 50; ++repeat) {
      for (const auto& losses : rounds) {
        rule.update(losses, 0.5);
        check_simplex(weights_of(rule));
      }
    }
    rule.update(std::vector{0.0, 1.0, 1.0}, nan);  // nothing is known: nothing changes
    check_simplex(weights_of(rule));
  }
}

// Cesa-Bianchi & Lugosi (2006), theorem 2.2, and its extension to fixed share and to sleeping and
// joining experts: for any data the regret is at most the bound that is printed beside it.
TEST_CASE("regret: never above its bound, on 1000 seeds", "[unit][aggregation]") {
  for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    std::size_t experts = 1 + random() % 8;
    const std::size_t rounds = 1 + random() % 300;
    const bool sleeps = seed % 3 == 1;
    const bool joins = seed % 5 == 2;
    const double scale = seed % 7 == 3 ? 5.0 : 1.0;  // losses outside of [0, 1]
    ExponentialWeights::Settings settings;
    settings.learning_rate = seed % 2 == 0
                                 ? std::sqrt(8.0 * std::log(static_cast<double>(experts) + 1.0) /
                                             static_cast<double>(rounds))
                                 : 0.05 + 2.0 * uniform(random);
    settings.share = seed % 4 < 2 ? 0.0 : 0.2 * uniform(random);
    ExponentialWeights rule(settings, experts);
    RegretLedger ledger(experts);
    std::vector<double> losses, weights;
    std::vector<std::uint8_t> awake;
    for (std::size_t t = 0; t < rounds; ++t) {
      if (joins && random() % 40 == 0 && experts < 12) {
        REQUIRE(rule.join() == ledger.join());
        ++experts;
      }
      losses.resize(experts);
      weights.resize(experts);
      awake.assign(experts, 1);
      // Adversarial now and then: whoever has the most weight is wrong.
      rule.weights({}, weights);
      const auto leader = std::max_element(weights.begin(), weights.end()) - weights.begin();
      for (std::size_t k = 0; k < experts; ++k) {
        losses[k] = seed % 6 == 5 ? (static_cast<std::size_t>(leader) == k ? 1.0 : 0.0)
                                  : std::pow(uniform(random), static_cast<double>(k + 1)) * scale;
        if (sleeps) awake[k] = random() % 3 != 0;
      }
      rule.weights(awake, weights);
      double awake_weight = 0.0;
      for (std::size_t k = 0; k < experts; ++k) awake_weight += weights[k];
      if (awake_weight > 0.0) check_simplex(weights);
      const double own = mix(weights, losses);
      ledger.add(losses, own, awake);
      if (awake_weight > 0.0) rule.update(losses, own, awake);
    }
    for (std::size_t k = 0; k < experts; ++k) {
      CAPTURE(seed, k);
      REQUIRE(ledger.experts()[k].regret() <= ledger.bound(settings, k) + 1e-9);
    }
  }
}

TEST_CASE("regret: the classic rate gives the classic bound", "[unit][aggregation]") {
  const double rounds = 1'000;
  const ExponentialWeights::Settings settings{std::sqrt(8.0 * std::log(10.0) / rounds), 0.0};
  CHECK(static_regret_bound(settings, -std::log(10.0), rounds, rounds) ==
        Approx(std::sqrt(rounds * std::log(10.0) / 2.0)).epsilon(1e-12));
  // With shifts = 0 both bounds of fixed share are one.
  const ExponentialWeights::Settings shared{0.5, 0.01};
  CHECK(shifting_regret_bound(shared, 5, 100, 0) ==
        Approx(static_regret_bound(shared, -std::log(5.0), 100, 100)).epsilon(1e-12));
  CHECK(std::isinf(shifting_regret_bound(settings, 5, 100, 1)));
}

TEST_CASE("regret: judges weights it did not make", "[unit][aggregation]") {
  RegretLedger ledger(2);
  CHECK(ledger.best_expert() == RegretLedger::kNobody);
  ledger.add(std::vector{0.2, 0.8}, 0.5);
  ledger.add(std::vector{0.4, 0.0}, 0.3);
  CHECK(ledger.best_expert() == 0);
  CHECK(ledger.experts()[0].regret() == Approx(0.2));
  CHECK(ledger.experts()[1].regret() == Approx(0.0).margin(1e-15));
  CHECK(ledger.rounds() == 2);
  ledger.add(std::vector{3.0, 0.0}, 0.3);
  CHECK(ledger.rounds_outside_unit() == 1);
}

TEST_CASE("aggregation state: goes on bit for bit where it was saved", "[unit][aggregation]") {
  const ExponentialWeights::Settings settings{1.0, 0.01};
  ExponentialWeights rule(settings, 4);
  RegretLedger ledger(4);
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  const auto round = [&](ExponentialWeights& to, RegretLedger& judge) {
    std::vector<double> losses(4), weights(4);
    for (double& loss : losses) loss = uniform(random);
    to.weights({}, weights);
    judge.add(losses, mix(weights, losses));
    to.update(losses, mix(weights, losses));
  };
  for (int i = 0; i < 100; ++i) round(rule, ledger);
  std::string state;
  ephor::StateWriter out(state);
  rule.write(out);
  ledger.write(out);
  ExponentialWeights loaded(settings);
  RegretLedger loaded_ledger;
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) {
    loaded.read(in);
    loaded_ledger.read(in);
  }));
  const std::mt19937_64 at = random;
  for (int i = 0; i < 50; ++i) round(rule, ledger);
  random = at;
  for (int i = 0; i < 50; ++i) round(loaded, loaded_ledger);
  CHECK(weights_of(loaded) == weights_of(rule));
  CHECK(loaded_ledger.experts()[2].loss == ledger.experts()[2].loss);
}
