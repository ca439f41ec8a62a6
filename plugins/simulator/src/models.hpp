// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "faults.hpp"
#include "features.hpp"
#include "random.hpp"

namespace ephor::simulator {

enum class Label : std::uint8_t { sell, hold, buy, count };
inline constexpr std::size_t kLabelCount = static_cast<std::size_t>(Label::count);
inline constexpr std::array<std::string_view, kLabelCount> kLabelNames{"sell", "hold", "buy"};
inline std::string_view name_of(Label label) {
  return kLabelNames[static_cast<std::size_t>(label)];
}

// Shape [kLabelCount], sums to 1.
using Probability = std::array<double, kLabelCount>;
Label best_of(const Probability& probability);

// A return of at most this size either way means "hold".
inline constexpr double kHoldBand = 0.0007;
Label label_of(double realized_return);

inline constexpr std::size_t kModelCount = 5;

// `quality` is the correlation of the model's signal with the standardised return over the horizon:
// 0 knows nothing, 1 everything. `sensitivity` says which features the signal hangs on: it is what
// the model reports as importance, and how a feature that drifts harms it.
struct ModelLaw {
  std::string_view id;
  std::string_view type;
  double quality;
  Features sensitivity;  // [kFeatureCount], sums to 1
};
extern const std::array<ModelLaw, kModelCount> kModels;  // best first
std::size_t model_index(std::string_view id);            // kModelCount if unknown

// What the models of one step have in common.
struct Outlook {
  double future_return;    // over the horizon; only the generator can know it
  double expected_return;  // of the regime, over the horizon
  double volatility;       // of the regime, over the horizon
  double common_noise;     // standard normal: the models are wrong together, as real ones are
  Features feature_error;  // observed less true, in units of kFeatureScales
};

// The model sees s = quality * z + sqrt(1 - quality^2) * noise, z the standardised future return.
// For normal returns its posterior is N(quality * s, 1 - quality^2), so the probabilities it gives
// for sell, hold and buy are calibrated; jumps and regime changes leave a small real error.
Probability predict(const ModelLaw& model, const Outlook& outlook, Random& random);

// What a broken model says: the right numbers under shuffled labels.
Probability shuffle(const Probability& probability, Random& random);
// Probabilities to the power `factor`: the same ranking, too sure of itself.
Probability sharpen(const Probability& probability, double factor);

}  // namespace ephor::simulator
