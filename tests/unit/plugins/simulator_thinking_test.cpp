// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <ephor/plugin.hpp>
#include <limits>

#include "ensemble.hpp"
#include "features.hpp"
#include "json_text.hpp"
#include "market.hpp"
#include "models.hpp"
#include "random.hpp"
#include "regime_filter.hpp"
#include "support/catch.hpp"
#include "trading.hpp"

using namespace ephor::simulator;

TEST_CASE("random: equals a second implementation in Python", "[unit][simulator]") {
  // splitmix64 seeding and xoshiro256** written again in Python, checked there against the
  // published first outputs 11520, 0, 1509978240 of state {1, 2, 3, 4}.
  Random random(42, Stream::models, 7);
  REQUIRE(random.next() == 0xff28704823160582u);
  REQUIRE(random.next() == 0x8a7ae3cf30bd43eeu);
  REQUIRE(random.next() == 0xde9f980eb4d8386eu);
}

TEST_CASE("random: normal draws have mean 0, variance 1 and a normal tail", "[unit][simulator]") {
  constexpr int kDraws = 200'000;
  Random random(1, Stream::market, 0);
  double sum = 0.0;
  double squares = 0.0;
  int beyond = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.normal();
    sum += value;
    squares += value * value;
    if (std::abs(value) > 1.959964) ++beyond;
  }
  // Four standard errors: 4 / sqrt(n), 4 * sqrt(2 / n), 4 * sqrt(0.05 * 0.95 / n).
  REQUIRE(std::abs(sum / kDraws) < 0.009);
  REQUIRE(std::abs(squares / kDraws - 1.0) < 0.0127);
  REQUIRE(std::abs(beyond / double{kDraws} - 0.05) < 0.002);
}

TEST_CASE("market: candles hold together and regimes keep to their laws", "[unit][simulator]") {
  Market market(3, 60000.0);
  std::array<double, kRegimeCount> squares{};
  std::array<int, kRegimeCount> steps{};
  double last_close = market.candle().close;
  for (int i = 0; i < 60'000; ++i) {
    const double future = market.future_return();
    const double from = market.candle().close;
    market.advance();
    const Candle& candle = market.candle();
    REQUIRE(candle.low <= std::min(candle.open, candle.close));
    REQUIRE(candle.high >= std::max(candle.open, candle.close));
    REQUIRE(candle.volume > 0.0);
    REQUIRE(candle.open == Approx(last_close).margin(0.011));
    if (i % 1000 == 0) {
      Market ahead = market;
      for (std::size_t step = 1; step < Market::kHorizon; ++step) ahead.advance();
      REQUIRE(future == ahead.candle().close / from - 1.0);
    }
    const auto regime = static_cast<std::size_t>(candle.regime);
    const double change = std::log(candle.close / last_close) - law_of(candle.regime).drift;
    squares[regime] += change * change;
    ++steps[regime];
    last_close = candle.close;
  }
  for (std::size_t regime = 0; regime < kRegimeCount; ++regime) {
    REQUIRE(steps[regime] > 3000);
    const RegimeLaw& law = kRegimeLaws[regime];
    // Diffusion and jumps are independent: their variances add. The kurtosis of the jumps makes the
    // estimate wide, hence 15 %.
    const double variance = law.volatility * law.volatility + law.jump_probability * 0.004 * 0.004;
    REQUIRE(squares[regime] / steps[regime] == Approx(variance).epsilon(0.15));
  }
}

TEST_CASE("regime filter: is right about a regime that has lasted", "[unit][simulator]") {
  Market market(5, 60000.0);
  RegimeFilter filter;
  int right = 0;
  int asked = 0;
  int lasted = 0;
  Regime before = market.candle().regime;
  for (int i = 0; i < 20'000; ++i) {
    const double close = market.candle().close;
    market.advance();
    filter.update(std::log(market.candle().close / close));
    double total = 0.0;
    for (const double value : filter.probability()) total += value;
    REQUIRE(total == Approx(1.0));
    lasted = market.candle().regime == before ? lasted + 1 : 0;
    before = market.candle().regime;
    if (lasted < 40) continue;
    ++asked;
    if (filter.regime() == before) ++right;
  }
  // Chance is 1 in 4.
  REQUIRE(right > 0.7 * asked);
}

TEST_CASE("features: closed forms on a ramp", "[unit][simulator]") {
  FeatureWindow window;
  for (int i = 0; i < 121; ++i) {
    Candle candle;
    candle.close = 100.0 + i;
    candle.high = candle.close + 2.0;
    candle.low = candle.close - 1.0;
    candle.volume = 7.0;
    window.add(candle);
  }
  const Features features = window.compute();
  REQUIRE(features[0] == Approx(220.0 / 219.0 - 1.0));
  REQUIRE(features[1] == Approx(220.0 / 215.0 - 1.0));
  REQUIRE(features[3] == Approx(220.0 / 160.0 - 1.0));
  REQUIRE(features[6] == 100.0);                // every change is a gain
  REQUIRE(features[7] == Approx(3.0 / 220.0));  // (high - low) / close
  REQUIRE(features[8] == 0.0);                  // volume never varies
  // An EMA of n lags a unit ramp by (n - 1) / 2 once it has settled: 5.5 and 23.5.
  REQUIRE(features[9] == Approx(18.0 / 220.0).epsilon(0.01));
}

TEST_CASE("models: without skill a model gives the regime's own odds", "[unit][simulator]") {
  ModelLaw blind = kModels.back();
  blind.quality = 0.0;
  Random random(1, Stream::models, 0);
  const Outlook outlook{0.01, 0.0, kHoldBand, 0.3, {}};
  const Probability said = predict(blind, outlook, random);
  // One standard deviation each way: 15.866 %, 68.269 %, 15.866 %.
  REQUIRE(said[0] == Approx(0.15866).margin(2e-5));
  REQUIRE(said[1] == Approx(0.68269).margin(2e-5));
  REQUIRE(said[0] + said[1] + said[2] == Approx(1.0).margin(1e-12));
}

TEST_CASE("models: probabilities are calibrated for normal returns", "[unit][simulator]") {
  const ModelLaw& model = kModels.front();
  constexpr int kBins = 10;
  std::array<double, kBins> said_sum{};
  std::array<double, kBins> hits{};
  std::array<int, kBins> counts{};
  for (std::uint64_t step = 0; step < 60'000; ++step) {
    Random truth(9, Stream::market, step);
    Random random(9, Stream::models, step);
    const Outlook outlook{0.0012 * truth.normal(), 0.0, 0.0012, random.normal(), {}};
    const Probability said = predict(model, outlook, random);
    const Label actual = label_of(outlook.future_return);
    for (std::size_t label = 0; label < kLabelCount; ++label) {
      const auto bin = static_cast<std::size_t>(std::min(said[label], 0.999) * kBins);
      said_sum[bin] += said[label];
      hits[bin] += label == static_cast<std::size_t>(actual) ? 1.0 : 0.0;
      ++counts[bin];
    }
  }
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    if (counts[bin] < 500) continue;
    // Four standard errors of a share.
    const double bound = 4.0 * 0.5 / std::sqrt(counts[bin]);
    REQUIRE(std::abs(hits[bin] - said_sum[bin]) / counts[bin] < bound);
  }
}

TEST_CASE("models: importance sums to one, sharpening and shuffling keep a distribution",
          "[unit][simulator]") {
  for (const ModelLaw& model : kModels) {
    double total = 0.0;
    for (const double value : model.sensitivity) total += value;
    REQUIRE(total == Approx(1.0));
  }
  const Probability sharp = sharpen({0.2, 0.3, 0.5}, 2.0);
  // 0.04, 0.09, 0.25 over 0.38.
  REQUIRE(sharp[0] == Approx(0.04 / 0.38).margin(1e-5));
  REQUIRE(sharp[2] == Approx(0.25 / 0.38).margin(1e-5));
  int kept = 0;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    Random random(1, Stream::models, step);
    const Probability shuffled = shuffle({0.2, 0.3, 0.5}, random);
    REQUIRE(shuffled[0] + shuffled[1] + shuffled[2] == Approx(1.0));
    if (best_of(shuffled) == Label::buy) ++kept;
  }
  // A third, four standard errors of sqrt(2 / 9 / 3000).
  REQUIRE(std::abs(kept / 3000.0 - 1.0 / 3.0) < 0.035);
}

TEST_CASE("ensemble: weights stay a distribution and follow the best model", "[unit][simulator]") {
  Ensemble ensemble;
  Predictions predictions;
  predictions.fill({0.4, 0.3, 0.3});
  predictions[2] = {0.1, 0.1, 0.8};
  for (int i = 0; i < 200; ++i) ensemble.learn(predictions, Label::buy);
  double total = 0.0;
  for (const double weight : ensemble.weights()) total += weight;
  REQUIRE(total == Approx(1.0));
  REQUIRE(ensemble.weights()[2] > 0.95);
  REQUIRE(ensemble.weights()[0] >= 0.002 / 5.0);  // the fixed share
  REQUIRE(consensus(predictions, Label::sell) == 0.8);
  // Uniform weights: the blend is (.34, .26, .40); distances .06 to .1 four times, .4 once.
  const Probability blend = Ensemble().blend(predictions);
  REQUIRE(blend[0] == Approx(0.34));
  REQUIRE(blend[2] == Approx(0.40));
  REQUIRE(disagreement(predictions, blend) == Approx((4 * 0.10 + 0.40) / 5.0));
}

TEST_CASE("meta learner: begins as the blend and learns a constant answer", "[unit][simulator]") {
  MetaLearner meta;
  const Probability blend{0.5, 0.3, 0.2};
  const Probability first = meta.predict(blend, 0.6);
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    REQUIRE(first[label] == Approx(blend[label]));
  }
  for (int i = 0; i < 2000; ++i) meta.learn(blend, 0.6, Label::buy);
  REQUIRE(best_of(meta.predict(blend, 0.6)) == Label::buy);
}

TEST_CASE("trading: profit, fees and reasons by hand", "[unit][simulator]") {
  Account account(10000.0);
  Position position;
  position.side = 1;
  position.open_step = 10;
  account.open(position, 100.0, 0.0);
  REQUIRE(account.position()->quantity == 50.0);  // half of 10,000 at 100
  REQUIRE(account.position()->stop_loss == 99.6);
  REQUIRE(account.position()->take_profit == 100.6);
  REQUIRE(account.exposure_at(100.0) == 0.5);
  REQUIRE(account.equity_at(100.2) == Approx(10010.0));

  const Candle quiet{100.0, 100.1, 99.9, 100.0, 1.0, Regime::sideways};
  REQUIRE_FALSE(account.manage(quiet, 11, Label::buy, 0.0));
  const Candle rising{100.0, 100.7, 99.9, 100.5, 1.0, Regime::sideways};
  const auto closed = account.manage(rising, 12, Label::hold, 0.0);
  REQUIRE(closed);
  REQUIRE(closed->reason == "take_profit");
  // 50 * 0.6 less 0.0002 of 5,000 and of 5,030.
  REQUIRE(closed->fees == Approx(2.006));
  REQUIRE(closed->pnl == Approx(27.994));
  REQUIRE(account.equity() == Approx(10027.994));
  REQUIRE(account.position() == nullptr);
  REQUIRE(account.won() == 1);

  position.side = -1;
  account.open(position, 100.0, 0.0);
  // Touches both levels: the worse counts. It gapped over the stop, so it fills at the open.
  const Candle wild{100.9, 101.0, 99.0, 99.5, 1.0, Regime::high_volatility};
  const auto stopped = account.manage(wild, 11, Label::hold, 0.0);
  REQUIRE(stopped->reason == "stop_loss");
  REQUIRE(stopped->close_price == 100.9);
  REQUIRE(stopped->pnl < 0.0);

  account.open(position, 100.0, 0.0);
  REQUIRE(account.manage(quiet, 11, Label::buy, 0.0)->reason == "reversal");
  account.open(position, 100.0, 0.0);
  REQUIRE_FALSE(account.manage(quiet, 14, Label::sell, 0.0));
  REQUIRE(account.manage(quiet, 15, Label::sell, 0.0)->reason == "horizon");
  REQUIRE(account.closed() == 4);
}

TEST_CASE("json text: numbers, escapes and times", "[unit][simulator]") {
  const auto number = [](double value, int digits) {
    std::string text;
    append_number(text, value, digits);
    return text;
  };
  REQUIRE(number(1.5, 3) == "1.5");
  REQUIRE(number(2.0, 3) == "2");
  REQUIRE(number(100.0, 0) == "100");
  REQUIRE(number(-0.0001, 2) == "0");
  REQUIRE(number(std::numeric_limits<double>::quiet_NaN(), 2) == "null");
  std::string quoted;
  append_quoted(quoted, "a\"b\\c\n");
  REQUIRE(quoted == R"("a\"b\\c\u000a")");
  // 1510036140.072608193 is 2017-11-07T06:29:00.072608193Z (GNU date).
  REQUIRE(time_text(1510036140072608193) == "2017-11-07T06:29:00.072608193Z");
  REQUIRE(parse_time_text("2017-11-07T06:29:00Z") == 1510036140000000000);
  for (const char* bad : {"", "2025-01-01", "2025-13-01T00:00:00Z", "2025-02-30T00:00:00Z",
                          "2025-01-01T24:00:00Z", "2025-01-01 00:00:00Z", "9999-01-01T00:00:00Z"}) {
    REQUIRE_THROWS_AS(parse_time_text(bad), ephor::Error);
  }
}
