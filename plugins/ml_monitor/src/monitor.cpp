// SPDX-License-Identifier: Apache-2.0
#include "monitor.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ml_monitor {
namespace {

// A state begins with it, so that other bytes are refused at once.
constexpr std::uint32_t kStateMagic = 0x4D4C4D31;  // "MLM1"

// Names that group figures are bounded in length; what is cut off would not tell more.
std::string_view bounded(std::string_view name) { return name.substr(0, Monitor::kNameBytesMax); }

bool is_id(std::string_view text) { return !text.empty() && text.size() <= Monitor::kNameBytesMax; }

}  // namespace

Monitor::Monitor(const Config& config)
    : labels_(config.labels), joiner_(config.joiner), table_(config.models) {}

Value Monitor::value_of(const LabelOrNumber& given) {
  if (!given.label.empty()) return Value::of_label(labels_.intern(given.label));
  if (given.number && std::isfinite(*given.number)) return Value::of_number(*given.number);
  return {};
}

void Monitor::set_probabilities(const std::vector<NamedNumber>& given,
                                PendingPrediction& prediction) {
  std::uint8_t count = 0;
  for (const NamedNumber& item : given) {
    if (!(item.value >= 0.0 && item.value <= 1.0)) {
      ++counts_.unusable_probabilities;
      return;
    }
    const LabelId label = labels_.intern(item.name);
    const auto begin = prediction.probability_label.begin();
    const auto at = std::find(begin, begin + count, label) - begin;
    if (at == static_cast<std::ptrdiff_t>(PendingPrediction::kClassesMax)) {
      ++counts_.unusable_probabilities;
      return;
    }
    const auto place = static_cast<std::size_t>(at);
    if (place == count) {
      prediction.probability_label[place] = label;
      prediction.probability[place] = 0.0;
      ++count;
    }
    prediction.probability[place] += item.value;  // two spellings of one class add up
  }
  prediction.class_count = count;
  for (std::size_t i = 0; i < count; ++i) {
    prediction.probability_square_sum += prediction.probability[i] * prediction.probability[i];
  }
}

void Monitor::add_prediction(const Prediction& prediction, std::int64_t time_ns, bool is_late) {
  const Value value = value_of(prediction.prediction);
  if (!is_id(prediction.prediction_id) || !is_id(prediction.model_id) ||
      value.kind == Value::Kind::kNone) {
    ++counts_.malformed;
    return;
  }
  counts_.late += is_late ? 1 : 0;
  const std::string_view version = bounded(prediction.model_version);
  PendingPrediction pending;
  pending.time_ns = time_ns;
  pending.value = value;
  pending.model = table_.index_of(prediction.model_id);
  pending.version = table_.version_index(pending.model, version);
  pending.symbol = table_.symbol_index(pending.model, bounded(prediction.symbol));
  if (prediction.confidence && *prediction.confidence >= 0.0 && *prediction.confidence <= 1.0) {
    pending.has_confidence = true;
    pending.confidence = *prediction.confidence;
  }
  set_probabilities(prediction.probability, pending);
  const OutcomeJoiner::Changes& changes = joiner_.add_prediction(
      prediction.prediction_id, prediction.decision_id, prediction.model_id, pending);
  if (!changes.is_new) return;
  ++counts_.predictions;
  table_.add_prediction(pending, bounded(prediction.model_type), version);
  apply(changes);
}

void Monitor::add_outcome(const Outcome& outcome, std::int64_t time_ns, bool is_late) {
  const Value value = value_of(outcome.actual);
  const bool is_for_prediction = is_id(outcome.prediction_id);
  if (value.kind == Value::Kind::kNone || (!is_for_prediction && !is_id(outcome.decision_id))) {
    ++counts_.malformed;
    return;
  }
  counts_.late += is_late ? 1 : 0;
  const ActualOutcome actual{time_ns, value, is_late};
  const OutcomeJoiner::Changes& changes =
      is_for_prediction
          ? joiner_.add_outcome(outcome.prediction_id, actual)
          : joiner_.add_decision_outcome(outcome.decision_id, outcome.model_id, actual);
  counts_.outcomes += changes.is_new ? 1 : 0;
  apply(changes);
}

void Monitor::add_feature_importance(std::string_view model_id, std::string_view importance_json,
                                     std::string_view method, std::int64_t time_ns) {
  if (!is_id(model_id)) {
    ++counts_.malformed;
    return;
  }
  table_.set_importance(table_.index_of(model_id),
                        {std::string(importance_json), std::string(bounded(method)), time_ns});
}

void Monitor::add_deployment(std::string_view model_id, std::string_view version,
                             std::int64_t time_ns) {
  if (!is_id(model_id) || version.empty()) {
    ++counts_.malformed;
    return;
  }
  table_.set_deployment(table_.index_of(model_id), bounded(version), time_ns);
}

void Monitor::advance(std::int64_t log_time_ns) {
  if (log_time_ns <= log_time_ns_) return;
  log_time_ns_ = log_time_ns;
  apply(joiner_.advance(log_time_ns));
}

void Monitor::apply(const OutcomeJoiner::Changes& changes) {
  for (const Joined& joined : changes.joined) {
    const auto classes = labels_.classes(joined.prediction.value, joined.outcome.value);
    table_.add_joined(joined, judge(joined, classes), classes);
  }
  for (const PendingPrediction& lost : changes.lost) table_.add_lost(lost);
}

Verdict Monitor::judge(const Joined& joined,
                       const std::optional<Labels::ClassPair>& classes) const {
  const PendingPrediction& prediction = joined.prediction;
  Verdict verdict;
  if (!classes) {
    if (prediction.value.kind == Value::Kind::kNumber &&
        joined.outcome.value.kind == Value::Kind::kNumber) {
      verdict.kind = Verdict::Kind::kNumber;
      verdict.error = prediction.value.number - joined.outcome.value.number;
    }
    return verdict;
  }
  verdict.kind = Verdict::Kind::kClass;
  verdict.is_correct = classes->predicted == classes->actual;
  verdict.has_confidence = prediction.has_confidence;
  verdict.confidence = prediction.confidence;
  if (prediction.class_count == 0) return verdict;

  const auto begin = prediction.probability_label.begin();
  const auto end = begin + prediction.class_count;
  const auto found = std::find(begin, end, classes->actual);
  double of_actual =
      found == end ? 0.0 : prediction.probability[static_cast<std::size_t>(found - begin)];
  double square_sum = prediction.probability_square_sum;
  if (prediction.class_count == 1) {
    // One class named: the rest of the probability is that of "not this class".
    const double rest = 1.0 - prediction.probability[0];
    square_sum += rest * rest;
    if (found == end) of_actual = rest;
  }
  verdict.has_probability = true;
  // sum (p - y)^2 = sum p^2 - 2 p_actual + 1; rounding may leave a tiny negative at a perfect one.
  verdict.brier = std::max(0.0, square_sum - 2.0 * of_actual + 1.0);
  verdict.log_loss = log_loss(of_actual);
  return verdict;
}

// ---- answers
// --------------------------------------------------------------------------------------

Json Monitor::summary() const {
  return {{"predictions", counts_.predictions},
          {"outcomes_joined", joiner_.counts().joined},
          {"outcomes_waiting", joiner_.waiting_outcomes()},
          {"predictions_waiting", joiner_.waiting_predictions()},
          {"models", table_.size()},
          {"findings", Json::array()}};
}

Json Monitor::joining() const {
  const JoinerCounts& counts = joiner_.counts();
  return {{"predictions", counts_.predictions},
          {"outcomes", counts_.outcomes},
          {"joined", counts.joined},
          {"predictions_waiting", joiner_.waiting_predictions()},
          {"outcomes_waiting", joiner_.waiting_outcomes()},
          {"predictions_repeated", counts.repeated_predictions},
          {"outcomes_repeated", counts.repeated_outcomes},
          {"outcomes_corrected", counts.corrected_outcomes},
          {"predictions_expired", counts.expired_predictions},
          {"outcomes_expired", counts.expired_outcomes},
          {"predictions_evicted", counts.evicted_predictions},
          {"outcomes_evicted", counts.evicted_outcomes},
          {"malformed", counts_.malformed},
          {"late", counts_.late},
          {"unusable_probabilities", counts_.unusable_probabilities},
          {"rows_dropped", table_.rows_dropped()}};
}

Json Monitor::models(std::size_t offset, std::size_t limit) const {
  const std::vector<std::uint32_t> order = table_.sorted_by_id();
  Json list = Json::array();
  for (std::size_t i = offset; i < order.size() && i - offset < limit; ++i) {
    list.push_back(table_.brief(order[i]));
  }
  const auto other = table_.other();
  return {{"log_time", log_time_ns_ == kNoTime ? Json() : Json(rfc3339(log_time_ns_))},
          {"models_total", order.size()},
          {"offset", offset},
          {"limit", limit},
          {"models", std::move(list)},
          {"beyond_max_models", other ? table_.brief(*other) : Json()},
          {"joining", joining()}};
}

std::optional<Json> Monitor::model(std::string_view model_id) const {
  const auto found = table_.find(model_id);
  if (!found) return std::nullopt;
  Json out = table_.detail(*found, labels_);
  out["log_time"] = log_time_ns_ == kNoTime ? Json() : Json(rfc3339(log_time_ns_));
  return out;
}

// ---- state
// ----------------------------------------------------------------------------------------

void Monitor::save(std::string& state) const {
  StateWriter out(state);
  out.u32(kStateMagic);
  out.varint(counts_.predictions).varint(counts_.outcomes).varint(counts_.malformed);
  out.varint(counts_.late).varint(counts_.unusable_probabilities);
  out.i64(log_time_ns_);
  labels_.save(out);
  table_.save(out);
  joiner_.save(out);
}

bool Monitor::load(std::string_view state) {
  return read_state(state, [&](StateReader& in) {
    if (in.u32() != kStateMagic) throw Error(EPHOR_INVALID, "state: not one of ml_monitor");
    counts_.predictions = in.varint();
    counts_.outcomes = in.varint();
    counts_.malformed = in.varint();
    counts_.late = in.varint();
    counts_.unusable_probabilities = in.varint();
    log_time_ns_ = in.i64();
    labels_.load(in);
    table_.load(in, labels_);
    joiner_.load(in, labels_,
                 [&](const PendingPrediction& prediction) { return table_.is_known(prediction); });
  });
}

}  // namespace ephor::ml_monitor
