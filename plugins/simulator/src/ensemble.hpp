// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "models.hpp"

namespace ephor::simulator {

using Predictions = std::array<Probability, kModelCount>;

// Multiplicative weights over the models (Freund & Schapire 1997) on half the multi-class Brier
// score, with a fixed share (Herbster & Warmuth 1998) so that a model that recovers is heard again.
class Ensemble {
 public:
  Ensemble() { weights_.fill(1.0 / kModelCount); }

  Probability blend(const Predictions& predictions) const;
  void learn(const Predictions& predictions, Label actual);
  const std::array<double, kModelCount>& weights() const { return weights_; }

  template <typename Archive>
  void visit(Archive& archive) {
    archive(weights_);
  }

 private:
  std::array<double, kModelCount> weights_;  // each > 0, sums to 1
};

// Share of the models whose label is `label`.
double consensus(const Predictions& predictions, Label label);
// Mean total variation distance between each model and the blend, in [0, 1].
double disagreement(const Predictions& predictions, const Probability& blend);

// A second opinion on the blend: softmax regression on its log-probabilities and the consensus,
// learned online. It starts as the blend itself.
class MetaLearner {
 public:
  MetaLearner();

  Probability predict(const Probability& blend, double consensus) const;
  void learn(const Probability& blend, double consensus, Label actual);

  template <typename Archive>
  void visit(Archive& archive) {
    archive(weights_);
  }

 private:
  static constexpr std::size_t kInputs = kLabelCount + 2;
  using Inputs = std::array<double, kInputs>;
  static Inputs inputs_of(const Probability& blend, double consensus);

  std::array<Inputs, kLabelCount> weights_{};
};

}  // namespace ephor::simulator
