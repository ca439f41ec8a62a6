// SPDX-License-Identifier: Apache-2.0
#include "monitor.hpp"

#include <algorithm>
#include <cmath>
#include <ephor/text_hash.hpp>

namespace ephor::ml_monitor {
namespace {

// A state begins with it, so that other bytes are refused at once.
constexpr std::uint32_t kStateMagic = 0x4D4C4D32;  // "MLM2"

// Names that group figures are bounded in length; what is cut off would not tell more.
std::string_view bounded(std::string_view name) { return name.substr(0, Monitor::kNameBytesMax); }

constexpr std::uint16_t kSymbolsMax = 256;
constexpr std::uint16_t kRegimesMax = 64;

// Peers are of one symbol; without a correlation id, of one symbol and time.
std::uint64_t group_key(std::uint64_t correlation, std::uint16_t symbol, std::int64_t time_ns) {
  const std::uint64_t base =
      correlation != 0 ? correlation : static_cast<std::uint64_t>(time_ns) * 0x9E3779B97F4A7C15;
  const std::uint64_t mixed = (base ^ (base >> 31)) + (symbol + 1ULL) * 0xBF58476D1CE4E5B9;
  return mixed ^ (mixed >> 29);
}

bool is_id(std::string_view text) { return !text.empty() && text.size() <= Monitor::kNameBytesMax; }

}  // namespace

Monitor::Monitor(const Config& config)
    : config_(config),
      labels_(config.labels),
      joiner_(config.joiner),
      table_(config.models, labels_),
      symbols_(kSymbolsMax),
      regimes_(kRegimesMax, "(unknown)"),
      symbol_regimes_(1),
      findings_(config.instance, "ephor.drift", config.drift.findings_max),
      models_(config.drift, table_, findings_),
      features_(config.drift, findings_),
      retraining_(config.instance, config.retraining, findings_) {}

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

void Monitor::add_prediction(const Prediction& prediction, std::int64_t time_ns, bool is_late,
                             std::uint64_t correlation) {
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
  pending.cohort = symbols_.index_of(bounded(prediction.symbol));
  pending.group = group_key(correlation, pending.cohort, time_ns);
  pending.is_late = is_late;
  pending.has_own_regime = !prediction.regime.empty();
  if (pending.has_own_regime) {
    pending.regime = regimes_.index_of(bounded(prediction.regime));
  } else if (pending.cohort < symbol_regimes_.size() &&
             symbol_regimes_[pending.cohort].time_ns <= time_ns) {
    pending.regime = symbol_regimes_[pending.cohort].regime;
  }
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
  if (config_.drift.is_enabled && !is_late) models_.add_prediction(pending, version);
  apply(changes);
  keep_drift_scores();
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
  keep_drift_scores();
}

void Monitor::add_regime(std::string_view symbol, std::string_view regime,
                         std::uint64_t correlation, std::int64_t time_ns, bool is_of_symbol,
                         bool is_late) {
  if (regime.empty()) return;
  const std::uint16_t symbol_index = symbols_.index_of(bounded(symbol));
  const std::uint16_t regime_index = regimes_.index_of(bounded(regime));
  if (correlation != 0) {
    models_.set_regime(group_key(correlation, symbol_index, time_ns), regime_index);
  }
  if (!is_of_symbol || is_late) return;
  if (symbol_regimes_.size() <= symbol_index) symbol_regimes_.resize(symbol_index + 1U);
  SymbolRegime& known = symbol_regimes_[symbol_index];
  if (time_ns >= known.time_ns) known = {regime_index, time_ns};
}

void Monitor::add_features(std::string_view symbol, std::string_view timeframe,
                           std::string_view model_id, std::span<const FeatureValue> values,
                           std::int64_t time_ns, bool is_late) {
  if (!config_.drift.is_enabled) return;
  features_.add(bounded(symbol), bounded(timeframe), bounded(model_id), values, time_ns, is_late);
}

void Monitor::add_reference(const Json& data) {
  constexpr std::size_t kSample = 256;
  const Json features = data.contains("features") ? data["features"] : data;
  if (!config_.drift.is_enabled || !features.is_object()) return;
  for (const auto& [name, summary] : features.items()) {
    if (!summary.is_object()) continue;
    const Json given = summary.value("quantiles", Json());
    std::vector<std::pair<double, double>> quantiles;  // share, value
    if (given.is_array() && given.size() >= 2) {
      for (std::size_t i = 0; i < given.size(); ++i) {
        if (!given[i].is_number()) continue;
        quantiles.emplace_back(static_cast<double>(i) / static_cast<double>(given.size() - 1),
                               given[i].get<double>());
      }
    } else if (given.is_object()) {
      for (const auto& [share, value] : given.items()) {
        char* end = nullptr;
        const double at = std::strtod(share.c_str(), &end);
        if (end == share.c_str() || !(at >= 0.0 && at <= 1.0) || !value.is_number()) continue;
        quantiles.emplace_back(at, value.get<double>());
      }
    }
    if (quantiles.size() < 2) continue;
    std::sort(quantiles.begin(), quantiles.end());
    // A sample with these quantiles: straight lines between them, ends held.
    std::vector<double> sample;
    std::size_t at = 0;
    for (std::size_t i = 0; i < kSample; ++i) {
      const double share = (static_cast<double>(i) + 0.5) / static_cast<double>(kSample);
      while (at + 2 < quantiles.size() && quantiles[at + 1].first < share) ++at;
      const auto [left, low] = quantiles[at];
      const auto [right, high] = quantiles[at + 1];
      const double along =
          right > left ? std::clamp((share - left) / (right - left), 0.0, 1.0) : 0.0;
      sample.push_back(low + along * (high - low));
    }
    const Json count = summary.value("count", Json());
    features_.set_reference(bounded(name), std::move(sample),
                            count.is_number_unsigned() ? count.get<std::uint64_t>() : 0);
  }
}

void Monitor::add_retrain_status(std::string_view retrain_id, std::string_view model_id,
                                 std::string_view version, std::string_view status,
                                 std::string_view note, std::int64_t time_ns) {
  if (!is_id(retrain_id) || !is_id(model_id) || status.empty()) {
    ++counts_.malformed;
    return;
  }
  const bool is_done = retraining_.follow(retrain_id, model_id, bounded(version), bounded(status),
                                          bounded(note), time_ns);
  const auto model = table_.find(model_id);
  if (is_done && model && config_.drift.is_enabled) {
    models_.forget(*model, time_ns, "it was trained again");
    keep_drift_scores();
  }
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
  if (!config_.drift.is_enabled) return;
  models_.advance(log_time_ns);
  retraining_.advance(log_time_ns);
  keep_drift_scores();
}

void Monitor::keep_drift_scores() {
  for (const std::uint32_t model : models_.take_touched()) {
    table_.set_drift_scores(model, dump(models_.scores_json(model)));
  }
}

void Monitor::apply(const OutcomeJoiner::Changes& changes) {
  for (const Joined& joined : changes.joined) {
    const auto classes = labels_.classes(joined.prediction.value, joined.outcome.value);
    const Verdict verdict = judge(joined, classes);
    const PendingPrediction& prediction = joined.prediction;
    std::uint16_t regime = prediction.regime;
    if (!prediction.has_own_regime) {
      if (const std::uint16_t told = models_.regime_of(prediction.group); told != 0) regime = told;
    }
    table_.add_joined(joined, verdict, regimes_.name(regime));
    if (config_.drift.is_enabled) models_.add_joined(joined, verdict, regime);
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
  verdict.classes = classes;
  if (prediction.has_confidence) verdict.certainty = prediction.confidence;
  if (prediction.class_count == 0) return verdict;

  const auto begin = prediction.probability_label.begin();
  const auto end = begin + prediction.class_count;
  if (!verdict.certainty) {
    verdict.certainty =
        std::min(1.0, *std::max_element(prediction.probability.begin(),
                                        prediction.probability.begin() + prediction.class_count));
  }
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
          {"features", features_.size()},
          {"findings_open", findings_.open_count()},
          {"findings_total", findings_.all().size()},
          {"retraining_requests", retraining_.size()},
          {"findings", findings_.list()}};
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

Json Monitor::log_time() const {
  return log_time_ns_ == kNoTime ? Json() : Json(rfc3339(log_time_ns_));
}

Json Monitor::models(std::size_t offset, std::size_t limit) const {
  const std::vector<std::uint32_t> order = table_.sorted_by_id();
  Json list = Json::array();
  for (std::size_t i = offset; i < order.size() && i - offset < limit; ++i) {
    list.push_back(table_.brief(order[i]));
  }
  const auto other = table_.other();
  return {{"log_time", log_time()},    {"models_total", order.size()},
          {"offset", offset},          {"limit", limit},
          {"models", std::move(list)}, {"beyond_max_models", other ? table_.brief(*other) : Json()},
          {"joining", joining()}};
}

namespace {

Json over_json(const Monitor::Period& period) {
  return {{"from", period.from_ns ? Json(format_time(*period.from_ns)) : Json()},
          {"to", period.to_ns ? Json(format_time(*period.to_ns)) : Json()}};
}

}  // namespace

Json Monitor::models_over(std::size_t offset, std::size_t limit, const Period& period,
                          const std::map<std::string, Scores>& figures) const {
  Json list = Json::array();
  std::size_t total = 0;
  for (const auto& [id, scores] : figures) {
    const auto model = table_.find(id);
    if (!model) continue;
    if (total >= offset && total - offset < limit) list.push_back(table_.brief(*model, scores));
    ++total;
  }
  Json over = over_json(period);
  over["basis"] = "whole hours: those that begin in the period";
  return {{"log_time", log_time()}, {"over", std::move(over)}, {"models_total", total},
          {"offset", offset},       {"limit", limit},          {"models", std::move(list)},
          {"joining", joining()}};
}

std::optional<Json> Monitor::model(std::string_view model_id) const {
  const auto found = table_.find(model_id);
  if (!found) return std::nullopt;
  Json out = table_.detail(*found);
  out["log_time"] = log_time();
  std::vector<std::string> symbols;
  for (std::uint16_t i = 0; i < symbols_.size(); ++i) symbols.push_back(symbols_.name(i));
  out["drift"] = models_.model_json(*found, symbols);
  Json findings = Json::array();
  for (const Finding& finding : findings_.all()) {
    if (finding.target_kind == "model" && finding.target == model_id) {
      findings.push_back(findings_.to_json(finding));
    }
  }
  out["findings"] = std::move(findings);
  return out;
}

Json Monitor::drift(std::size_t offset, std::size_t limit, const Period& period) const {
  std::vector<std::string> symbols;
  for (std::uint16_t i = 0; i < symbols_.size(); ++i) symbols.push_back(symbols_.name(i));
  Json models = Json::array();
  const std::vector<std::uint32_t> order = table_.sorted_by_id();
  for (std::size_t i = offset; i < order.size() && i - offset < limit; ++i) {
    Json one = models_.model_json(order[i], symbols);
    one["model_id"] = table_.id(order[i]);
    models.push_back(std::move(one));
  }
  return {{"log_time", log_time()},
          {"over", over_json(period)},
          {"drift_detection_enabled", config_.drift.is_enabled},
          {"drift_threshold", config_.drift.threshold},
          {"false_alarm_budget_per_10000_blocks", config_.drift.false_alarm_budget},
          {"block_decisions", config_.drift.cohort.block_decisions},
          {"offset", offset},
          {"limit", limit},
          {"findings_open", findings_.open_count()},
          {"findings_total", findings_.all().size()},
          {"findings_not_opened", findings_.not_opened()},
          {"findings", findings_.list(offset, limit, period.from_ns, period.to_ns)},
          {"models", std::move(models)},
          {"features", features_.to_json(offset, limit)["features"]},
          {"counts", {{"models", models_.counts_json()}, {"features", features_.counts_json()}}}};
}

Json Monitor::features(std::size_t offset, std::size_t limit) const {
  Json out = features_.to_json(offset, limit);
  std::map<std::string, Json> importance;  // by model
  for (std::uint32_t model = 0; model < table_.size(); ++model) {
    Json of_model = json_or_null(table_.importance(model).json);
    if (of_model.is_object()) importance[table_.id(model)] = std::move(of_model);
  }
  for (Json& feature : out["features"]) {
    Json by_model = Json::object();
    for (const auto& [model, values] : importance) {
      const auto found = values.find(feature["feature"].get<std::string>());
      if (found != values.end()) by_model[model] = *found;
    }
    feature["importance"] = std::move(by_model);
  }
  out["log_time"] = log_time();
  out["counts"] = features_.counts_json();
  return out;
}

Json Monitor::retraining(std::size_t offset, std::size_t limit, const Period& period) const {
  Json out = retraining_.list(offset, limit, period.from_ns, period.to_ns);
  out["log_time"] = log_time();
  out["over"] = over_json(period);
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
  symbols_.save(out);
  regimes_.save(out);
  out.varint(symbol_regimes_.size());
  for (const SymbolRegime& known : symbol_regimes_) out.varint(known.regime).i64(known.time_ns);
  joiner_.save(out);
  findings_.save(out);
  models_.save(out);
  features_.save(out);
  retraining_.save(out);
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
    table_.load(in);
    symbols_.load(in);
    regimes_.load(in);
    symbol_regimes_.resize(in.count(9));
    if (symbol_regimes_.size() > symbols_.size())
      throw Error(EPHOR_INVALID, "state: no such symbol");
    for (SymbolRegime& known : symbol_regimes_) {
      const std::uint64_t regime = in.varint();
      if (!regimes_.is_known(regime)) throw Error(EPHOR_INVALID, "state: no such regime");
      known.regime = static_cast<std::uint16_t>(regime);
      known.time_ns = in.i64();
    }
    joiner_.load(in, labels_, [&](const PendingPrediction& prediction) {
      return table_.is_known(prediction) && symbols_.is_known(prediction.cohort) &&
             regimes_.is_known(prediction.regime);
    });
    findings_.load(in);
    models_.load(in, symbols_.size(), regimes_.size());
    features_.load(in);
    retraining_.load(in);
  });
}

}  // namespace ephor::ml_monitor
