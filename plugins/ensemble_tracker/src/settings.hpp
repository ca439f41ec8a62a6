// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::ensemble_tracker {

inline constexpr std::string_view kConfigSchema = R"json({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "enable_ensemble_tracking": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.tracking_system.enable_ensemble_tracking",
      "description": "false: decisions, predictions and outcomes are not read"},
    "enable_regime_tracking": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.tracking_system.enable_regime_tracking",
      "description": "false: regimes are not read and no figure is kept per regime"},
    "enable_decision_path_tracking": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.tracking_system.enable_decision_path_tracking",
      "description": "false: decision paths are not read"},
    "enable_online_learning": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.ml_monitor.enable_online_learning",
      "description": "false: no weights are learned from outcomes; the client's own are still judged"},
    "max_tracking_history": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 50000,
      "x-ephor-from": "monitoring.tracking_system.max_tracking_history",
      "description": "answered decisions kept in memory; others are read back from the table ensemble_decisions"},
    "max_open_decisions": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 10000,
      "description": "decisions that wait for outcomes, and predictions that wait for their decision; beyond it the oldest is closed with what is known"},
    "outcome_wait_s": {"type": "number", "minimum": 1, "maximum": 31536000, "default": 86400,
      "description": "a decision whose outcomes have not all come so long after it is closed with those that have"},
    "learning_rate": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "default": 1.0,
      "description": "of our exponential weights, for losses in [0, 1]"},
    "fixed_share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.01,
      "description": "share of the weight that is spread evenly after each round, so that a change of the best model is followed; 0: none"},
    "window_decisions": {"type": "integer", "minimum": 10, "maximum": 10000, "default": 500,
      "description": "answered decisions in the moving figures"},
    "max_ensembles": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 100,
      "description": "ensembles with figures of their own; further ones are in the overall figures only"},
    "max_members": {"type": "integer", "minimum": 1, "maximum": 48, "default": 32,
      "description": "models with figures of their own in one ensemble; further ones are counted"},
    "max_hours": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 2208,
      "description": "hours with figures of their own for each ensemble in memory; older ones are in the table ensemble_weights"},
    "max_weight_points": {"type": "integer", "minimum": 10, "maximum": 100000, "default": 500,
      "description": "points of the history of weights for each ensemble; at the bound every second one is left out"},
    "max_regime_transitions": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000,
      "description": "latest changes of regime kept in memory; all are in the table regime_transitions"},
    "max_findings": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 200,
      "description": "findings kept; the oldest closed one makes room"},
    "degradation_loss": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.02,
      "description": "excess loss per decision (half the Brier score) of the client's weights over learned ones that is worth a finding"},
    "degradation_window": {"type": "integer", "minimum": 20, "maximum": 100000, "default": 250,
      "description": "answered decisions in a window of that comparison; it takes two in a row"},
    "flicker_observations": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 3,
      "description": "a regime that was seen at most so often in a row before the one before it came back is flicker"},
    "max_names": {"type": "integer", "minimum": 16, "maximum": 60000, "default": 4096,
      "description": "distinct models, ensembles, symbols, regimes and labels (each); further ones share the name (other)"},
    "max_distinct_ids": {"type": "integer", "minimum": 1, "maximum": 1000000000, "default": 8000000,
      "description": "decision ids remembered to know repeats, about 16 bytes an id"},
    "regime_aliases": {"type": "object", "additionalProperties": {"type": "string"}, "default": {},
      "description": "names of regimes that mean another, for example {\"BULL\": \"bull_trend\"}; none: as sent"},
    "label_aliases": {"type": "object", "additionalProperties": {"type": "string"}, "default": {},
      "description": "decisions that mean another, beside long, enter_long (buy), short, enter_short (sell), neutral, flat (hold)"},
    "numeric_outcome_labels": {"type": "object", "additionalProperties": {"type": "string"},
      "default": {"1": "buy", "0": "sell", "-1": "sell"},
      "description": "the class that a numeric outcome means"},
    "hold_label": {"type": "string", "default": "hold",
      "description": "the decision that does nothing; all others act"},
    "meta_learner_steps": {"type": "array", "items": {"type": "string"}, "default": ["meta_learner"],
      "description": "steps of a decision path whose weight is the meta learner's score for buy, where the path has thresholds buy and sell"},
    "score_steps": {"type": "array", "items": {"type": "string"}, "default": ["ensemble_vote", "meta_learner"],
      "description": "steps whose weight passes above the threshold buy or below the threshold sell"},
    "step_thresholds": {"type": "object", "additionalProperties": {"type": "string"}, "default": {"blend": "confidence"},
      "description": "steps whose threshold has another name than the step"}
  }})json";

struct Settings {
  bool enable_ensemble_tracking;
  bool enable_regime_tracking;
  bool enable_decision_path_tracking;
  bool enable_online_learning;
  std::size_t max_tracking_history;
  std::size_t max_open_decisions;
  std::int64_t outcome_wait_ns;
  double learning_rate;
  double fixed_share;
  std::size_t window_decisions;
  std::size_t max_ensembles;
  std::size_t max_members;
  std::size_t max_hours;
  std::size_t max_weight_points;
  std::size_t max_regime_transitions;
  std::size_t max_findings;
  double degradation_loss;
  std::size_t degradation_window;
  std::uint32_t flicker_observations;
  std::size_t max_names;
  std::size_t max_distinct_ids;
  std::map<std::string, std::string> regime_aliases;
  std::map<std::string, std::string> label_aliases;
  std::map<std::string, std::string> numeric_outcome_labels;
  std::string hold_label;
  std::vector<std::string> meta_learner_steps;
  std::vector<std::string> score_steps;
  std::map<std::string, std::string> step_thresholds;

  explicit Settings(std::string_view config = "{}") {
    using Texts = std::map<std::string, std::string>;
    using List = std::vector<std::string>;
    const Json json = parse_json(config, "ensemble_tracker configuration");
    enable_ensemble_tracking = member_or(json, "enable_ensemble_tracking", true);
    enable_regime_tracking = member_or(json, "enable_regime_tracking", true);
    enable_decision_path_tracking = member_or(json, "enable_decision_path_tracking", true);
    enable_online_learning = member_or(json, "enable_online_learning", true);
    max_tracking_history = member_or<std::size_t>(json, "max_tracking_history", 50'000);
    max_open_decisions = member_or<std::size_t>(json, "max_open_decisions", 10'000);
    outcome_wait_ns = static_cast<std::int64_t>(member_or(json, "outcome_wait_s", 86'400.0) * 1e9);
    learning_rate = member_or(json, "learning_rate", 1.0);
    fixed_share = member_or(json, "fixed_share", 0.01);
    window_decisions = member_or<std::size_t>(json, "window_decisions", 500);
    max_ensembles = member_or<std::size_t>(json, "max_ensembles", 100);
    max_members = member_or<std::size_t>(json, "max_members", 32);
    max_hours = member_or<std::size_t>(json, "max_hours", 2208);
    max_weight_points = member_or<std::size_t>(json, "max_weight_points", 500);
    max_regime_transitions = member_or<std::size_t>(json, "max_regime_transitions", 1000);
    max_findings = member_or<std::size_t>(json, "max_findings", 200);
    degradation_loss = member_or(json, "degradation_loss", 0.02);
    degradation_window = member_or<std::size_t>(json, "degradation_window", 250);
    flicker_observations = member_or<std::uint32_t>(json, "flicker_observations", 3);
    max_names = member_or<std::size_t>(json, "max_names", 4096);
    max_distinct_ids = member_or<std::size_t>(json, "max_distinct_ids", 8'000'000);
    regime_aliases = member_or(json, "regime_aliases", Texts());
    label_aliases = member_or(json, "label_aliases", Texts());
    numeric_outcome_labels = member_or(json, "numeric_outcome_labels",
                                       Texts{{"1", "buy"}, {"0", "sell"}, {"-1", "sell"}});
    hold_label = member_or<std::string>(json, "hold_label", "hold");
    meta_learner_steps = member_or(json, "meta_learner_steps", List{"meta_learner"});
    score_steps = member_or(json, "score_steps", List{"ensemble_vote", "meta_learner"});
    step_thresholds = member_or(json, "step_thresholds", Texts{{"blend", "confidence"}});
  }
};

}  // namespace ephor::ensemble_tracker
