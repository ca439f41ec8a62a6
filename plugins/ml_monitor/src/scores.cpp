// SPDX-License-Identifier: Apache-2.0
#include "scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ephor::ml_monitor {
namespace {

std::optional<double> mean(double sum, std::uint64_t count) {
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

}  // namespace

std::optional<Interval> wilson_95(std::uint64_t correct, std::uint64_t total) {
  if (total == 0) return std::nullopt;
  constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the standard normal
  const double n = static_cast<double>(total);
  const double p = static_cast<double>(correct) / n;
  const double z2_n = kZ * kZ / n;
  const double centre = (p + z2_n / 2) / (1 + z2_n);
  const double half = kZ / (1 + z2_n) * std::sqrt(p * (1 - p) / n + z2_n / (4 * n));
  return Interval{std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double log_loss(double probability_of_actual) {
  return -std::log(std::clamp(probability_of_actual, std::numeric_limits<double>::epsilon(), 1.0));
}

void Scores::add_prediction(std::optional<double> confidence) {
  ++predictions;
  if (!confidence) return;
  ++confidence_count;
  confidence_sum += *confidence;
}

void Scores::add(const Verdict& verdict) {
  ++outcomes_joined;
  switch (verdict.kind) {
    case Verdict::Kind::kIncomparable:
      ++incomparable;
      return;
    case Verdict::Kind::kNumber:
      ++regression_count;
      absolute_error_sum += std::abs(verdict.error);
      squared_error_sum += verdict.error * verdict.error;
      return;
    case Verdict::Kind::kClass:
      ++scored;
      correct += verdict.is_correct ? 1 : 0;
      if (verdict.has_confidence) {
        ++scored_confidence_count;
        scored_confidence_sum += verdict.confidence;
      }
      if (verdict.has_probability) {
        ++probability_count;
        brier_sum += verdict.brier;
        log_loss_sum += verdict.log_loss;
      }
  }
}

std::optional<double> Scores::accuracy() const {
  return mean(static_cast<double>(correct), scored);
}

Json Scores::to_json() const {
  const auto interval = wilson_95(correct, scored);
  std::optional<double> rmse = mean(squared_error_sum, regression_count);
  if (rmse) rmse = std::sqrt(*rmse);
  return {
      {"predictions", predictions},
      {"outcomes_joined", outcomes_joined},
      {"waiting", waiting()},
      {"lost", lost},
      {"scored", scored},
      {"correct", correct},
      {"incomparable", incomparable},
      {"accuracy", number_or_null(accuracy())},
      {"accuracy_low_95", interval ? Json(interval->low) : Json()},
      {"accuracy_high_95", interval ? Json(interval->high) : Json()},
      {"confidence_count", confidence_count},
      {"mean_confidence", number_or_null(mean(confidence_sum, confidence_count))},
      {"scored_confidence_count", scored_confidence_count},
      {"mean_confidence_scored",
       number_or_null(mean(scored_confidence_sum, scored_confidence_count))},
      {"probability_count", probability_count},
      {"brier_score", number_or_null(mean(brier_sum, probability_count))},
      {"log_loss", number_or_null(mean(log_loss_sum, probability_count))},
      {"regression_count", regression_count},
      {"mean_absolute_error", number_or_null(mean(absolute_error_sum, regression_count))},
      {"root_mean_squared_error", number_or_null(rmse)},
  };
}

void Scores::save(StateWriter& out) const {
  for (const std::uint64_t count :
       {predictions, outcomes_joined, lost, scored, correct, incomparable, confidence_count,
        scored_confidence_count, probability_count, regression_count}) {
    out.varint(count);
  }
  for (const double sum : {confidence_sum, scored_confidence_sum, brier_sum, log_loss_sum,
                           absolute_error_sum, squared_error_sum}) {
    out.f64(sum);
  }
}

void Scores::load(StateReader& in) {
  for (std::uint64_t* count :
       {&predictions, &outcomes_joined, &lost, &scored, &correct, &incomparable, &confidence_count,
        &scored_confidence_count, &probability_count, &regression_count}) {
    *count = in.varint();
  }
  for (double* sum : {&confidence_sum, &scored_confidence_sum, &brier_sum, &log_loss_sum,
                      &absolute_error_sum, &squared_error_sum}) {
    *sum = in.f64();
  }
}

}  // namespace ephor::ml_monitor
