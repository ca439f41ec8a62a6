// SPDX-License-Identifier: Apache-2.0
//
// What ml_monitor knows: predictions, outcomes, regimes and features in; figures per model,
// findings and retraining requests out. Plain data on both sides; results depend on the order of
// calls and on the times given, on nothing else.
#pragma once

#include <cstdint>
#include <ephor/events.hpp>
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drift_settings.hpp"
#include "feature_watch.hpp"
#include "labels.hpp"
#include "model_table.hpp"
#include "model_watch.hpp"
#include "names.hpp"
#include "outcome_joiner.hpp"
#include "retraining.hpp"

namespace ephor::ml_monitor {

class Monitor {
 public:
  static constexpr std::size_t kNameBytesMax = 256;

  struct Config {
    Labels::Config labels;
    OutcomeJoiner::Limits joiner;
    ModelTable::Limits models;
    DriftSettings drift;
    RetrainingSettings retraining;
    std::string instance = "ml_monitor";
  };
  // Half-open, for answers about a part of the log.
  struct Period {
    std::optional<std::int64_t> from_ns;
    std::optional<std::int64_t> to_ns;
    bool is_given() const { return from_ns || to_ns; }
  };

  explicit Monitor(const Config& config);

  // `correlation`: the event's hash, 0 if it has none.
  void add_prediction(const Prediction& prediction, std::int64_t time_ns, bool is_late,
                      std::uint64_t correlation = 0);
  void add_outcome(const Outcome& outcome, std::int64_t time_ns, bool is_late);
  // `importance_json`: one JSON object {feature: number}.
  void add_feature_importance(std::string_view model_id, std::string_view importance_json,
                              std::string_view method, std::int64_t time_ns);
  void add_deployment(std::string_view model_id, std::string_view version, std::int64_t time_ns);
  // Of one correlation id (ephor.ensemble_decision, ephor.regime), and if `is_of_symbol` of the
  // symbol from now on.
  void add_regime(std::string_view symbol, std::string_view regime, std::uint64_t correlation,
                  std::int64_t time_ns, bool is_of_symbol, bool is_late);
  void add_features(std::string_view symbol, std::string_view timeframe, std::string_view model_id,
                    std::span<const FeatureValue> values, std::int64_t time_ns, bool is_late);
  // ephor.reference: {name: {quantiles: [..] or {share: value}, count}}, as given or in `features`.
  void add_reference(const Json& data);
  void add_retrain_status(std::string_view retrain_id, std::string_view model_id,
                          std::string_view version, std::string_view status, std::string_view note,
                          std::int64_t time_ns);
  void add_malformed() { ++counts_.malformed; }
  // Log time has come this far.
  void advance(std::int64_t log_time_ns);

  Json summary() const;
  Json models(std::size_t offset, std::size_t limit) const;
  // `figures`: of the period, by model id, as summed from hours by the caller.
  Json models_over(std::size_t offset, std::size_t limit, const Period& period,
                   const std::map<std::string, Scores>& figures) const;
  std::optional<Json> model(std::string_view model_id) const;
  Json drift(std::size_t offset, std::size_t limit, const Period& period) const;
  Json features(std::size_t offset, std::size_t limit) const;
  Json retraining(std::size_t offset, std::size_t limit, const Period& period) const;

  // To publish with the event in hand as cause.
  // What has opened or closed waits there to be published.
  Findings& findings() { return findings_; }
  // Requests for retraining to be published, ephor.retrain.
  std::vector<std::string> take_retrain_requests() { return retraining_.take_news(); }

  ModelTable& table() { return table_; }
  const ModelTable& table() const { return table_; }
  const OutcomeJoiner& joiner() const { return joiner_; }

  // Write the changed rows first; they are no part of it.
  void save(std::string& state) const;
  // `this` must be new. False: unreadable, throw it away.
  bool load(std::string_view state);

 private:
  struct Counts {
    std::uint64_t predictions = 0;
    std::uint64_t outcomes = 0;  // without repeats
    std::uint64_t malformed = 0;
    std::uint64_t late = 0;
    std::uint64_t unusable_probabilities = 0;  // out of [0, 1], or too many classes
  };

  Value value_of(const LabelOrNumber& given);
  void set_probabilities(const std::vector<NamedNumber>& given, PendingPrediction& prediction);
  void apply(const OutcomeJoiner::Changes& changes);
  Verdict judge(const Joined& joined, const std::optional<Labels::ClassPair>& classes) const;
  void keep_drift_scores();
  Json joining() const;
  Json log_time() const;

  // Of ephor.regime: what a symbol is in, since when.
  struct SymbolRegime {
    std::uint16_t regime = 0;
    std::int64_t time_ns = kNoTime;
  };

  Config config_;
  Labels labels_;
  OutcomeJoiner joiner_;
  ModelTable table_;
  Names symbols_;
  Names regimes_;
  std::vector<SymbolRegime> symbol_regimes_;  // by symbol
  Findings findings_;
  ModelWatch models_;
  FeatureWatch features_;
  Retraining retraining_;
  Counts counts_;
  std::int64_t log_time_ns_ = kNoTime;
};

}  // namespace ephor::ml_monitor
