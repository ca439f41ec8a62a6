// SPDX-License-Identifier: Apache-2.0
//
// What ml_monitor knows: predictions and outcomes in, figures per model out. Plain data on both
// sides; results depend on the order of calls and on the times given, on nothing else.
#pragma once

#include <cstdint>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "labels.hpp"
#include "model_table.hpp"
#include "outcome_joiner.hpp"

namespace ephor::ml_monitor {

class Monitor {
 public:
  static constexpr std::size_t kNameBytesMax = 256;

  struct Config {
    Labels::Config labels;
    OutcomeJoiner::Limits joiner;
    ModelTable::Limits models;
  };

  explicit Monitor(const Config& config);

  void add_prediction(const Prediction& prediction, std::int64_t time_ns, bool is_late);
  void add_outcome(const Outcome& outcome, std::int64_t time_ns, bool is_late);
  // `importance_json`: one JSON object {feature: number}.
  void add_feature_importance(std::string_view model_id, std::string_view importance_json,
                              std::string_view method, std::int64_t time_ns);
  void add_deployment(std::string_view model_id, std::string_view version, std::int64_t time_ns);
  void add_malformed() { ++counts_.malformed; }
  // Log time has come this far.
  void advance(std::int64_t log_time_ns);

  Json summary() const;
  Json models(std::size_t offset, std::size_t limit) const;
  std::optional<Json> model(std::string_view model_id) const;

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
  Json joining() const;

  Labels labels_;
  OutcomeJoiner joiner_;
  ModelTable table_;
  Counts counts_;
  std::int64_t log_time_ns_ = kNoTime;
};

}  // namespace ephor::ml_monitor
