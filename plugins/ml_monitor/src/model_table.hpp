// SPDX-License-Identifier: Apache-2.0
//
// The figures of every model: over all time, per version, per symbol, per hour, over the last N
// outcomes, and which class was taken for which. All bounded: models beyond the bound share one
// entry, as do versions, symbols and pairs of classes.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hash_index.hpp"
#include "labels.hpp"
#include "outcome_joiner.hpp"
#include "outcome_window.hpp"
#include "scores.hpp"
#include "times.hpp"

namespace ephor::ml_monitor {

// Scores by name; the last place is for all beyond the bound.
class ScoreGroups {
 public:
  static constexpr std::size_t kGroupsMax = 64;

  std::uint16_t index_of(std::string_view name);  // "" is a name too: not given
  Scores& at(std::uint16_t index) { return groups_[index].scores; }
  std::size_t size() const { return groups_.size(); }
  Json to_json(const Labels* labels = nullptr) const;  // by name, without the nameless; with detail
  void save(StateWriter& out) const;
  void load(StateReader& in, const Labels& labels);

 private:
  struct Group {
    std::string name;
    Scores scores;
  };
  std::vector<Group> groups_;
  std::uint16_t last_ = 0;  // a model's events mostly repeat the group
};

// One row of model_behavior_tracking.
struct BehaviorRow {
  std::string id;  // model id ":" hour, so that a row is absolute
  std::string model_id;
  std::string hour;
  std::string performance_metrics;
  std::string feature_importance;  // empty: null
  std::string drift_scores;        // empty: null
  std::string metadata;
};

struct Importance {
  std::string json;  // {feature: importance}, as sent; empty: none yet
  std::string method;
  std::int64_t time_ns = kNoTime;
  bool operator==(const Importance&) const = default;
};

class ModelTable {
 public:
  struct Limits {
    std::size_t models_max = 10'000;
    std::size_t window = 500;
  };
  static constexpr std::string_view kOtherModel = "(other)";
  static constexpr std::size_t kImportanceBytesMax = 64 * 1024;
  // Rows of past hours not yet taken. A replay makes one per model and hour between two
  // checkpoints.
  static constexpr std::size_t kClosedRowsMax = 100'000;

  // One model as the entry sees it, to set its metrics.
  struct Touched {
    std::uint32_t model = 0;
    std::uint64_t predictions = 0;  // since it was last taken
  };

  // `labels` names the classes; it outlives the table.
  ModelTable(const Limits& limits, const Labels& labels) : limits_(limits), labels_(labels) {}

  // Makes the model if it is new.
  std::uint32_t index_of(std::string_view model_id);
  std::optional<std::uint32_t> find(std::string_view model_id) const;
  std::size_t size() const { return models_.size(); }
  const std::string& id(std::uint32_t model) const { return models_[model].id; }
  const Scores& scores(std::uint32_t model) const { return models_[model].total; }

  std::uint16_t version_index(std::uint32_t model, std::string_view version);
  std::uint16_t symbol_index(std::uint32_t model, std::string_view symbol);
  bool is_known(const PendingPrediction& prediction) const;  // its model, version and symbol exist

  void add_prediction(const PendingPrediction& prediction, std::string_view model_type,
                      std::string_view model_version);
  void add_joined(const Joined& joined, const Verdict& verdict, std::string_view regime);
  void add_lost(const PendingPrediction& prediction);
  void set_importance(std::uint32_t model, Importance importance);
  void set_deployment(std::uint32_t model, std::string_view version, std::int64_t time_ns);

  // What the detectors say of it now, one JSON object; kept with its hour.
  void set_drift_scores(std::uint32_t model, std::string json);
  const Importance& importance(std::uint32_t model) const { return models_[model].importance; }
  const std::string& version(std::uint32_t model) const { return models_[model].version; }

  Json brief(std::uint32_t model) const;
  // Of a period: the figures are `scores`, the rest is what the model is.
  Json brief(std::uint32_t model, const Scores& scores) const;
  Json detail(std::uint32_t model) const;
  std::vector<std::uint32_t> sorted_by_id() const;  // without the shared entry
  std::optional<std::uint32_t> other() const { return other_; }
  std::uint64_t rows_dropped() const { return rows_dropped_; }

  // What changed since the last set_rows_saved.
  std::vector<BehaviorRow> changed_rows() const;
  void set_rows_saved();
  // What changed since the last call.
  std::vector<Touched> take_touched();

  // Without the rows of closed hours: write those first.
  void save(StateWriter& out) const;
  void load(StateReader& in);  // `this` must be new

 private:
  // The figures of one hour, and what held when it was last changed. The hour before the newest
  // stays open for events that are a little out of order; it then keeps its own copy of the rest,
  // because a row must not depend on when it is written.
  struct Hour {
    std::int64_t start_ns = kNoTime;
    Scores scores;
    Scores total;
    Importance importance;
    std::string drift_scores;
    std::string type;
    std::string version;
    bool is_dirty = false;
  };
  struct Model {
    explicit Model(std::size_t window_size) : window(window_size) {}
    std::string id;
    std::string type;
    std::string version;  // of the latest prediction in the log that named one
    std::string deployed_version;
    std::int64_t deployed_ns = kNoTime;
    std::int64_t last_prediction_ns = kNoTime;
    std::int64_t last_outcome_ns = kNoTime;
    Scores total;
    ScoreGroups versions;
    ScoreGroups symbols;
    ScoreGroups regimes;  // outcomes only: the regime of a prediction is known when it is joined
    OutcomeWindow window;
    Importance importance;
    std::string drift_scores;
    std::uint64_t hour_missed = 0;  // events of hours whose row was already closed
    Hour newest;
    Hour before;
    std::uint64_t predictions_untaken = 0;
    bool is_touched = false;
  };

  Model& touch(std::uint32_t model);
  // The open hour of `time_ns`, opened if it is the newest; nullptr if its row is closed. To be
  // called before the model is changed.
  Hour* hour_at(Model& model, std::int64_t time_ns);
  void keep_what_holds(const Model& model, Hour& hour);
  BehaviorRow row_of(const Model& model, const Hour& hour) const;
  void close(const Model& model, const Hour& hour);

  Limits limits_;
  const Labels& labels_;
  std::vector<Model> models_;
  HashIndex index_;
  std::optional<std::uint32_t> other_;
  std::vector<std::uint32_t> touched_;
  std::vector<BehaviorRow> closed_rows_;
  std::uint64_t rows_dropped_ = 0;
};

}  // namespace ephor::ml_monitor
