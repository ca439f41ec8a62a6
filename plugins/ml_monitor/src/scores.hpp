// SPDX-License-Identifier: Apache-2.0
//
// The figures of one group of predictions (a model, one of its versions, an hour): plain sums, so
// that groups can be kept side by side at little cost. Sums do not depend on the order of events
// but for the rounding of the last bits.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <ephor/wilson.hpp>
#include <optional>

#include "calibration.hpp"
#include "confusion.hpp"
#include "labels.hpp"

namespace ephor::ml_monitor {

// -ln(p) of the class that came true, p clipped to [2^-52, 1] as scikit-learn does for doubles.
double log_loss(double probability_of_actual);

// What one joined prediction adds. An absent part (NaN) adds nothing to its sum.
struct Verdict {
  enum class Kind : std::uint8_t { kIncomparable, kClass, kNumber };
  Kind kind = Kind::kIncomparable;
  bool is_correct = false;       // kClass
  bool has_probability = false;  // kClass: brier and log_loss are set
  bool has_confidence = false;
  double confidence = 0.0;
  double brier = 0.0;                             // sum over classes of (p - y)^2, in [0, 2]
  double log_loss = 0.0;                          // nats
  double error = 0.0;                             // kNumber: predicted - actual
  std::optional<Labels::ClassPair> classes = {};  // kClass
  // kClass: the confidence, else the greatest probability; what calibration is about.
  std::optional<double> certainty = {};
};

struct Scores {
  std::uint64_t predictions = 0;
  std::uint64_t outcomes_joined = 0;  // predictions whose outcome is known
  std::uint64_t lost = 0;             // given up without an outcome (too old, or table full)
  std::uint64_t scored = 0;           // of the joined: both sides are classes
  std::uint64_t correct = 0;
  std::uint64_t incomparable = 0;  // of the joined: class beside a number that maps to none
  std::uint64_t confidence_count = 0;
  double confidence_sum = 0.0;
  std::uint64_t scored_confidence_count = 0;
  double scored_confidence_sum = 0.0;
  std::uint64_t probability_count = 0;  // of the scored: with usable class probabilities
  double brier_sum = 0.0;
  double log_loss_sum = 0.0;
  std::uint64_t regression_count = 0;  // of the joined: both sides are numbers
  double absolute_error_sum = 0.0;
  double squared_error_sum = 0.0;
  Confusion confusion;
  Calibration calibration;

  void add_prediction(std::optional<double> confidence);
  void add(const Verdict& verdict);

  // Of an hour it may be less than was joined: outcomes count in their own hour.
  std::uint64_t waiting() const {
    const std::uint64_t gone = outcomes_joined + lost;
    return predictions > gone ? predictions - gone : 0;
  }
  std::optional<double> accuracy() const;

  // Figures with the counts they are over; null where there is no data.
  Json to_json() const;
  // What to_json leaves out: confusion and figures per class, reliability bins.
  void add_detail(Json& out, const Labels& labels) const;
  // The sums behind what to_json and add_detail wrote, to the rounding of a quotient; classes that
  // `labels` has no room for are counted as beyond the bound.
  static Scores read(const Json& json, Labels& labels);
  void add(const Scores& other);
  void save(StateWriter& out) const;
  void load(StateReader& in, const Labels& labels);
  bool operator==(const Scores&) const = default;
};

}  // namespace ephor::ml_monitor
