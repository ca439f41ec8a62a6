// SPDX-License-Identifier: Apache-2.0
//
// What the events this plugin reads tell. Views are valid until the reader's next call.
#pragma once

#include <ephor/events.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "paths.hpp"

namespace ephor::ensemble_tracker {

struct Told {
  std::string_view label;
  std::optional<double> number;
  bool has_value() const { return !label.empty() || number.has_value(); }
};

struct ToldMember {
  std::string_view model_id;
  Told prediction;
  double confidence = kUnknown;
  std::size_t class_begin = 0;  // into Reader::classes
  std::size_t class_count = 0;
};

struct ToldNumber {
  std::string_view name;
  double value = 0.0;
};

struct PredictionNews {
  std::string_view prediction_id;
  std::string_view decision_id;
  std::string_view ensemble_id;
  std::string_view symbol;
  std::string_view regime;
  ToldMember member;
};

struct DecisionNews {
  std::string_view decision_id;
  std::string_view ensemble_id;
  std::string_view symbol;
  std::string_view regime;
  Told final_decision;
  Told primary;
  Told meta;
  double primary_confidence = kUnknown;
  double meta_confidence = kUnknown;
  double consensus_level = kUnknown;
  double disagreement_score = kUnknown;
  std::vector<ToldMember> members;
  std::vector<ToldNumber> weights;
};

struct OutcomeNews {
  std::string_view prediction_id;
  std::string_view decision_id;
  std::string_view model_id;
  Told actual;
  double realized_return = kUnknown;
};

struct RegimeNews {
  std::string_view regime;
  std::string_view symbol;
  std::string_view decision_id;
  double confidence = kUnknown;
  double duration = kUnknown;
};

struct PathNews {
  std::string_view decision_id;
  Path path;
  std::string json;  // the members of the event that are the path
};

// Keeps its buffers: no allocation per event once they are large enough, but for paths.
class Reader {
 public:
  const PredictionNews& prediction(const Event& event);
  const DecisionNews& decision(const Event& event);
  OutcomeNews outcome(const Event& event);
  RegimeNews regime(const Event& event);
  const PathNews& path(const Event& event);

  // Of the prediction or decision in hand.
  const std::vector<ToldNumber>& classes() const { return classes_; }

 private:
  void read_member(simdjson::dom::element value, ToldMember& member);
  bool read_member_field(std::string_view key, simdjson::dom::element value, ToldMember& member);
  void read_members(simdjson::dom::element value);

  EventReader reader_;
  PredictionNews prediction_;
  DecisionNews decision_;
  PathNews path_;
  std::vector<ToldNumber> classes_;
  std::vector<std::string> numbers_;  // "#1", "#2": members that are told without a name
};

// The path of a stored path_json; views into `json`, which must live on.
void read_path(const std::string& path_json, Json& json, Path& path);

}  // namespace ephor::ensemble_tracker
