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
      if (verdict.classes) confusion.add(*verdict.classes);
      if (verdict.certainty) calibration.add(*verdict.certainty, verdict.is_correct);
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
  const Confusion::Macro macro = confusion.macro();
  const auto of_classes = [&](double value) { return macro.classes > 0 ? Json(value) : Json(); };
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
      {"classes", macro.classes},
      {"precision_macro", of_classes(macro.precision)},
      {"recall_macro", of_classes(macro.recall)},
      {"f1_macro", of_classes(macro.f1)},
      {"calibration_count", calibration.count()},
      {"calibration_gap", number_or_null(calibration.gap())},
      {"expected_calibration_error", number_or_null(calibration.expected_error())},
      {"regression_count", regression_count},
      {"mean_absolute_error", number_or_null(mean(absolute_error_sum, regression_count))},
      {"root_mean_squared_error", number_or_null(rmse)},
  };
}

void Scores::add_detail(Json& out, const Labels& labels) const {
  out["confusion"] = confusion.to_json(labels);
  out["reliability"] = calibration.bins_json();
}

Scores Scores::read(const Json& json, Labels& labels) {
  Scores out;
  if (!json.is_object()) return out;
  const auto count = [&](const char* name) {
    const Json value = json.value(name, Json());
    return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  };
  const auto sum = [&](const char* name, std::uint64_t over) {
    const Json value = json.value(name, Json());
    return value.is_number() ? value.get<double>() * static_cast<double>(over) : 0.0;
  };
  out.predictions = count("predictions");
  out.outcomes_joined = count("outcomes_joined");
  out.lost = count("lost");
  out.scored = count("scored");
  out.correct = count("correct");
  out.incomparable = count("incomparable");
  out.confidence_count = count("confidence_count");
  out.confidence_sum = sum("mean_confidence", out.confidence_count);
  out.scored_confidence_count = count("scored_confidence_count");
  out.scored_confidence_sum = sum("mean_confidence_scored", out.scored_confidence_count);
  out.probability_count = count("probability_count");
  out.brier_sum = sum("brier_score", out.probability_count);
  out.log_loss_sum = sum("log_loss", out.probability_count);
  out.regression_count = count("regression_count");
  out.absolute_error_sum = sum("mean_absolute_error", out.regression_count);
  const double root = sum("root_mean_squared_error", 1);
  out.squared_error_sum = root * root * static_cast<double>(out.regression_count);
  out.confusion.read(json.value("confusion", Json()), labels);
  out.calibration.read(json.value("reliability", Json()));
  return out;
}

void Scores::add(const Scores& other) {
  predictions += other.predictions;
  outcomes_joined += other.outcomes_joined;
  lost += other.lost;
  scored += other.scored;
  correct += other.correct;
  incomparable += other.incomparable;
  confidence_count += other.confidence_count;
  confidence_sum += other.confidence_sum;
  scored_confidence_count += other.scored_confidence_count;
  scored_confidence_sum += other.scored_confidence_sum;
  probability_count += other.probability_count;
  brier_sum += other.brier_sum;
  log_loss_sum += other.log_loss_sum;
  regression_count += other.regression_count;
  absolute_error_sum += other.absolute_error_sum;
  squared_error_sum += other.squared_error_sum;
  confusion.add(other.confusion);
  calibration.add(other.calibration);
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
  confusion.save(out);
  calibration.save(out);
}

void Scores::load(StateReader& in, const Labels& labels) {
  for (std::uint64_t* count :
       {&predictions, &outcomes_joined, &lost, &scored, &correct, &incomparable, &confidence_count,
        &scored_confidence_count, &probability_count, &regression_count}) {
    *count = in.varint();
  }
  for (double* sum : {&confidence_sum, &scored_confidence_sum, &brier_sum, &log_loss_sum,
                      &absolute_error_sum, &squared_error_sum}) {
    *sum = in.f64();
  }
  confusion.load(in, labels);
  calibration.load(in);
}

}  // namespace ephor::ml_monitor
