// SPDX-License-Identifier: Apache-2.0
#include "reading.hpp"

#include <cmath>

namespace ephor::ensemble_tracker {
namespace {

constexpr std::size_t kPathBytesMax = 32'768;

std::string_view text(simdjson::dom::element value) { return EventReader::text(value); }

double number(simdjson::dom::element value) {
  double out = 0.0;
  return value.get(out) == simdjson::SUCCESS && std::isfinite(out) ? out : kUnknown;
}

Told told(simdjson::dom::element value) { return {text(value), EventReader::number(value)}; }

void append_numbers(simdjson::dom::element value, std::vector<ToldNumber>& out) {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return;
  for (const auto& [key, member] : object) {
    if (const double found = number(member); std::isfinite(found)) out.push_back({key, found});
  }
}

std::string_view text_of(const Json& value) {
  return value.is_string() ? std::string_view(value.get_ref<const std::string&>())
                           : std::string_view();
}

}  // namespace

bool Reader::read_member_field(std::string_view key, simdjson::dom::element value,
                               ToldMember& member) {
  if (key == "model_id") {
    if (const std::string_view id = text(value); !id.empty()) member.model_id = id;
  } else if (key == "prediction") {
    member.prediction = told(value);
  } else if (key == "confidence") {
    member.confidence = number(value);
  } else if (key == "probability") {
    member.class_begin = classes_.size();
    append_numbers(value, classes_);
    member.class_count = classes_.size() - member.class_begin;
  } else {
    return false;
  }
  return true;
}

void Reader::read_member(simdjson::dom::element value, ToldMember& member) {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) {
    member.prediction = told(value);
    return;
  }
  std::string_view type;
  for (const auto& [key, field] : object) {
    if (!read_member_field(key, field, member) && key == "model_type") type = text(field);
  }
  if (member.model_id.empty()) member.model_id = type;
}

// {model: {prediction, confidence}}, {model: number or label}, [{model_id, prediction, ..}] or a
// list of bare numbers, which are then models "#1", "#2", ...
void Reader::read_members(simdjson::dom::element value) {
  decision_.members.clear();
  if (simdjson::dom::object object; value.get(object) == simdjson::SUCCESS) {
    for (const auto& [key, member] : object) {
      decision_.members.push_back({});
      decision_.members.back().model_id = key;
      read_member(member, decision_.members.back());
    }
    return;
  }
  simdjson::dom::array array;
  if (value.get(array) != simdjson::SUCCESS) return;
  for (const simdjson::dom::element member : array) {
    decision_.members.push_back({});
    read_member(member, decision_.members.back());
  }
  while (numbers_.size() < decision_.members.size()) {
    numbers_.push_back("#" + std::to_string(numbers_.size() + 1));
  }
  for (std::size_t i = 0; i < decision_.members.size(); ++i) {
    if (decision_.members[i].model_id.empty()) decision_.members[i].model_id = numbers_[i];
  }
}

const PredictionNews& Reader::prediction(const Event& event) {
  classes_.clear();
  prediction_ = {};
  PredictionNews& out = prediction_;
  const simdjson::dom::object data = reader_.object(event);
  for (const auto& [key, value] : data) {
    if (read_member_field(key, value, out.member)) continue;
    if (key == "prediction_id")
      out.prediction_id = text(value);
    else if (key == "decision_id")
      out.decision_id = text(value);
    else if (key == "ensemble_id")
      out.ensemble_id = text(value);
    else if (key == "symbol")
      out.symbol = text(value);
    else if (key == "regime")
      out.regime = text(value);
  }
  return out;
}

const DecisionNews& Reader::decision(const Event& event) {
  classes_.clear();
  DecisionNews& out = decision_;
  std::vector<ToldMember> members = std::move(out.members);
  std::vector<ToldNumber> weights = std::move(out.weights);
  out = {};
  members.clear();
  weights.clear();
  out.members = std::move(members);
  out.weights = std::move(weights);
  const simdjson::dom::object data = reader_.object(event);
  for (const auto& [key, value] : data) {
    if (key == "decision_id")
      out.decision_id = text(value);
    else if (key == "ensemble_id")
      out.ensemble_id = text(value);
    else if (key == "symbol")
      out.symbol = text(value);
    else if (key == "regime")
      out.regime = text(value);
    else if (key == "final_decision")
      out.final_decision = told(value);
    else if (key == "primary_prediction")
      out.primary = told(value);
    else if (key == "primary_confidence")
      out.primary_confidence = number(value);
    else if (key == "meta_learner_prediction")
      out.meta = told(value);
    else if (key == "meta_learner_confidence")
      out.meta_confidence = number(value);
    else if (key == "consensus_level")
      out.consensus_level = number(value);
    else if (key == "disagreement_score")
      out.disagreement_score = number(value);
    else if (key == "individual_predictions")
      read_members(value);
    else if (key == "ensemble_weights")
      append_numbers(value, out.weights);
  }
  if (!out.final_decision.has_value()) out.final_decision = out.primary;
  if (out.decision_id.empty()) throw Error(EPHOR_INVALID, "a decision without decision_id");
  return out;
}

OutcomeNews Reader::outcome(const Event& event) {
  OutcomeNews out;
  const simdjson::dom::object data = reader_.object(event);
  for (const auto& [key, value] : data) {
    if (key == "prediction_id")
      out.prediction_id = text(value);
    else if (key == "decision_id")
      out.decision_id = text(value);
    else if (key == "model_id")
      out.model_id = text(value);
    else if (key == "actual")
      out.actual = told(value);
    else if (key == "realized_return")
      out.realized_return = number(value);
  }
  return out;
}

RegimeNews Reader::regime(const Event& event) {
  RegimeNews out;
  const simdjson::dom::object data = reader_.object(event);
  for (const auto& [key, value] : data) {
    if (key == "regime_type")
      out.regime = text(value);
    else if (key == "symbol")
      out.symbol = text(value);
    else if (key == "decision_id")
      out.decision_id = text(value);
    else if (key == "regime_confidence")
      out.confidence = number(value);
    else if (key == "regime_duration")
      out.duration = number(value);
  }
  return out;
}

const PathNews& Reader::path(const Event& event) {
  PathNews& out = path_;
  out.decision_id = {};
  out.path.clear();
  out.json = "{";
  simdjson::dom::element weights;
  bool has_weights = false;
  const simdjson::dom::object data = reader_.object(event);
  for (const auto& [key, value] : data) {
    if (key == "decision_id") {
      out.decision_id = text(value);
      continue;
    }
    if (key != "decision_steps" && key != "decision_reasons" && key != "decision_weights" &&
        key != "decision_thresholds" && key != "decision_sequence" && key != "final_decision" &&
        key != "metadata") {
      continue;
    }
    if (out.json.size() > 1) out.json += ',';
    out.json.append("\"").append(key).append("\":").append(simdjson::minify(value));
    if (key == "decision_steps") {
      simdjson::dom::array steps;
      if (value.get(steps) != simdjson::SUCCESS) continue;
      for (const simdjson::dom::element step : steps) out.path.steps.push_back({text(step)});
    } else if (key == "decision_weights") {
      weights = value;
      has_weights = true;
    } else if (key == "decision_thresholds") {
      simdjson::dom::object thresholds;
      if (value.get(thresholds) != simdjson::SUCCESS) continue;
      for (const auto& [name, threshold] : thresholds) {
        if (const double found = number(threshold); std::isfinite(found)) {
          out.path.thresholds.emplace_back(name, found);
        }
      }
    } else if (key == "final_decision") {
      out.path.final_decision = text(value);
    }
  }
  out.json += '}';
  if (out.json.size() > kPathBytesMax) out.json = R"({"too_long":true})";
  if (!has_weights) return out;
  // By place, or by name.
  if (simdjson::dom::array list; weights.get(list) == simdjson::SUCCESS) {
    std::size_t i = 0;
    for (const simdjson::dom::element weight : list) {
      if (i < out.path.steps.size()) out.path.steps[i].weight = number(weight);
      ++i;
    }
  } else if (simdjson::dom::object named; weights.get(named) == simdjson::SUCCESS) {
    for (const auto& [name, weight] : named) {
      for (PathStep& step : out.path.steps) {
        if (step.name == name) step.weight = number(weight);
      }
    }
  }
  return out;
}

void read_path(const std::string& path_json, Json& json, Path& path) {
  path.clear();
  json = Json::parse(path_json, nullptr, false);
  if (!json.is_object()) return;
  const Json empty;
  const auto member = [&](const char* name) -> const Json& {
    const auto found = json.find(name);
    return found == json.end() ? empty : *found;
  };
  const auto number_of = [](const Json& value) {
    return value.is_number() ? value.get<double>() : kUnknown;
  };
  if (member("decision_steps").is_array()) {
    for (const Json& step : member("decision_steps")) path.steps.push_back({text_of(step)});
  }
  const Json& weights = member("decision_weights");
  for (std::size_t i = 0; i < path.steps.size(); ++i) {
    if (weights.is_array() && i < weights.size()) path.steps[i].weight = number_of(weights[i]);
    if (weights.is_object() && weights.contains(path.steps[i].name)) {
      path.steps[i].weight = number_of(weights[std::string(path.steps[i].name)]);
    }
  }
  if (member("decision_thresholds").is_object()) {
    for (const auto& item : member("decision_thresholds").items()) {
      if (item.value().is_number()) {
        path.thresholds.emplace_back(item.key(), item.value().get<double>());
      }
    }
  }
  path.final_decision = text_of(member("final_decision"));
}

}  // namespace ephor::ensemble_tracker
