// SPDX-License-Identifier: Apache-2.0
#include "ensemble.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::simulator {
namespace {

constexpr double kLearningRate = 0.25;
constexpr double kShare = 0.002;
constexpr double kMetaLearningRate = 0.01;
constexpr double kMetaWeightLimit = 5.0;

double half_brier(const Probability& probability, Label actual) {
  double sum = 0.0;
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    const double hit = label == static_cast<std::size_t>(actual) ? 1.0 : 0.0;
    sum += (probability[label] - hit) * (probability[label] - hit);
  }
  return sum / 2.0;
}

}  // namespace

Probability Ensemble::blend(const Predictions& predictions) const {
  Probability blend{};
  for (std::size_t model = 0; model < kModelCount; ++model) {
    for (std::size_t label = 0; label < kLabelCount; ++label) {
      blend[label] += weights_[model] * predictions[model][label];
    }
  }
  return blend;
}

void Ensemble::learn(const Predictions& predictions, Label actual) {
  double total = 0.0;
  for (std::size_t model = 0; model < kModelCount; ++model) {
    total += weights_[model] *= std::exp(-kLearningRate * half_brier(predictions[model], actual));
  }
  for (double& weight : weights_) weight = (1.0 - kShare) * weight / total + kShare / kModelCount;
}

double consensus(const Predictions& predictions, Label label) {
  const auto votes = std::count_if(predictions.begin(), predictions.end(),
                                   [&](const Probability& each) { return best_of(each) == label; });
  return static_cast<double>(votes) / kModelCount;
}

double disagreement(const Predictions& predictions, const Probability& blend) {
  double sum = 0.0;
  for (const Probability& each : predictions) {
    for (std::size_t label = 0; label < kLabelCount; ++label) {
      sum += std::abs(each[label] - blend[label]) / 2.0;
    }
  }
  return sum / kModelCount;
}

MetaLearner::MetaLearner() {
  for (std::size_t label = 0; label < kLabelCount; ++label) weights_[label][label] = 1.0;
}

MetaLearner::Inputs MetaLearner::inputs_of(const Probability& blend, double consensus) {
  Inputs inputs{};
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    inputs[label] = std::log(std::max(blend[label], 1e-6));
  }
  inputs[kLabelCount] = consensus - 0.5;
  inputs[kLabelCount + 1] = 1.0;
  return inputs;
}

Probability MetaLearner::predict(const Probability& blend, double consensus) const {
  const Inputs inputs = inputs_of(blend, consensus);
  Probability scores{};
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    for (std::size_t input = 0; input < kInputs; ++input) {
      scores[label] += weights_[label][input] * inputs[input];
    }
  }
  const double highest = *std::max_element(scores.begin(), scores.end());
  double total = 0.0;
  for (double& score : scores) total += score = std::exp(score - highest);
  for (double& score : scores) score /= total;
  return scores;
}

void MetaLearner::learn(const Probability& blend, double consensus, Label actual) {
  const Inputs inputs = inputs_of(blend, consensus);
  const Probability said = predict(blend, consensus);
  for (std::size_t label = 0; label < kLabelCount; ++label) {
    const double error = said[label] - (label == static_cast<std::size_t>(actual) ? 1.0 : 0.0);
    for (std::size_t input = 0; input < kInputs; ++input) {
      double& weight = weights_[label][input];
      weight = std::clamp(weight - kMetaLearningRate * error * inputs[input], -kMetaWeightLimit,
                          kMetaWeightLimit);
    }
  }
}

}  // namespace ephor::simulator
