// SPDX-License-Identifier: Apache-2.0
#include "models.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ephor::simulator {
namespace {

constexpr double kCommonNoiseShare = 0.3;  // of the variance of each model's noise
constexpr double kLeastProbability = 1e-3;

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Clipped, normalised and rounded to what is printed (5 digits), the rest going to the largest.
Probability tidy(Probability probability) {
  double total = 0.0;
  for (double& value : probability) total += value = std::max(value, kLeastProbability);
  double rounded_total = 0.0;
  for (double& value : probability) {
    value = std::round(value / total * 1e5) / 1e5;
    rounded_total += value;
  }
  double& largest = *std::max_element(probability.begin(), probability.end());
  largest = std::round((largest + 1.0 - rounded_total) * 1e5) / 1e5;
  return probability;
}

}  // namespace

//                                              ret_1 ret_5 ret15 ret60 vol30 vol120 rsi  range volz
//                                              ema
const std::array<ModelLaw, kModelCount> kModels{{
    {"xgb_flow", "xgboost", 0.36, {.16, .20, .08, .04, .08, .02, .12, .06, .18, .06}},
    {"lstm_sequence", "lstm", 0.27, {.10, .14, .18, .16, .06, .06, .10, .04, .06, .10}},
    {"forest_swing", "random_forest", 0.19, {.04, .10, .16, .20, .10, .10, .14, .04, .04, .08}},
    {"ridge_trend", "linear_regression", 0.11, {.02, .06, .16, .26, .02, .04, .12, .02, .04, .26}},
    {"momentum_rule", "rule", 0.03, {.00, .10, .50, .30, .00, .00, .00, .00, .00, .10}},
}};

std::size_t model_index(std::string_view id) {
  const auto found = std::find_if(kModels.begin(), kModels.end(),
                                  [&](const ModelLaw& model) { return model.id == id; });
  return static_cast<std::size_t>(found - kModels.begin());
}

Label best_of(const Probability& probability) {
  return static_cast<Label>(std::max_element(probability.begin(), probability.end()) -
                            probability.begin());
}

Label label_of(double realized_return) {
  if (realized_return > kHoldBand) return Label::buy;
  return realized_return < -kHoldBand ? Label::sell : Label::hold;
}

Probability predict(const ModelLaw& model, const Outlook& outlook, Random& random) {
  const double truth = (outlook.future_return - outlook.expected_return) / outlook.volatility;
  const double noise = std::sqrt(kCommonNoiseShare) * outlook.common_noise +
                       std::sqrt(1.0 - kCommonNoiseShare) * random.normal();
  const double blind = std::sqrt(1.0 - model.quality * model.quality);
  double signal = model.quality * truth + blind * noise;
  for (std::size_t feature = 0; feature < kFeatureCount; ++feature) {
    signal += model.sensitivity[feature] * outlook.feature_error[feature];
  }
  const double mean = outlook.expected_return + outlook.volatility * model.quality * signal;
  const double deviation = outlook.volatility * blind;
  const double sell = normal_cdf((-kHoldBand - mean) / deviation);
  const double buy = normal_cdf((mean - kHoldBand) / deviation);
  return tidy({sell, 1.0 - sell - buy, buy});
}

Probability shuffle(const Probability& probability, Random& random) {
  const auto by = static_cast<std::size_t>(random.uniform() * kLabelCount);
  Probability shuffled{};
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    shuffled[(label + by) % kLabelCount] = probability[label];
  }
  return shuffled;
}

Probability sharpen(const Probability& probability, double factor) {
  Probability sharp{};
  double total = 0.0;
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    total += sharp[label] = std::pow(probability[label], factor);
  }
  for (double& value : sharp) value /= total;
  return tidy(sharp);
}

}  // namespace ephor::simulator
