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
#include "scores.hpp"
#include "times.hpp"

namespace ephor::ml_monitor {

// Right or wrong over the last N outcomes, one bit each.
class HitWindow {
 public:
  explicit HitWindow(std::size_t capacity) : capacity_(capacity) {}

  void push(bool is_hit);
  std::size_t count() const { return count_; }
  std::size_t hits() const { return hits_; }
  void save(StateWriter& out) const;  // oldest first
  void load(StateReader& in);         // keeps the newest if the capacity is smaller now

 private:
  bool bit(std::size_t at) const { return (bits_[at / 64] >> (at % 64) & 1) != 0; }

  std::size_t capacity_;
  std::size_t count_ = 0;
  std::size_t hits_ = 0;
  std::size_t next_ = 0;
  std::vector<std::uint64_t> bits_;  // made with the first outcome
};

// Scores by name; the last place is for all beyond the bound.
class ScoreGroups {
 public:
  static constexpr std::size_t kGroupsMax = 64;

  std::uint16_t index_of(std::string_view name);  // "" is a name too: not given
  Scores& at(std::uint16_t index) { return groups_[index].scores; }
  std::size_t size() const { return groups_.size(); }
  Json to_json() const;  // by name; without the nameless
  void save(StateWriter& out) const;
  void load(StateReader& in);

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
  static constexpr std::size_t kConfusionCellsMax = 256;
  static constexpr std::size_t kImportanceBytesMax = 64 * 1024;
  // Rows of past hours not yet taken. A replay makes one per model and hour between two
  // checkpoints.
  static constexpr std::size_t kClosedRowsMax = 100'000;

  // One model as the entry sees it, to set its metrics.
  struct Touched {
    std::uint32_t model = 0;
    std::uint64_t predictions = 0;  // since it was last taken
  };

  explicit ModelTable(const Limits& limits) : limits_(limits) {}

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
  void add_joined(const Joined& joined, const Verdict& verdict,
                  const std::optional<Labels::ClassPair>& classes);
  void add_lost(const PendingPrediction& prediction);
  void set_importance(std::uint32_t model, Importance importance);
  void set_deployment(std::uint32_t model, std::string_view version, std::int64_t time_ns);

  Json brief(std::uint32_t model) const;
  Json detail(std::uint32_t model, const Labels& labels) const;
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
  void load(StateReader& in, const Labels& labels);  // `this` must be new

 private:
  struct Cell {
    LabelId predicted;
    LabelId actual;
    std::uint64_t count;
  };
  // The figures of one hour, and what held when it was last changed. The hour before the newest
  // stays open for events that are a little out of order; it then keeps its own copy of the rest,
  // because a row must not depend on when it is written.
  struct Hour {
    std::int64_t start_ns = kNoTime;
    Scores scores;
    Scores total;
    Importance importance;
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
    std::vector<Cell> confusion;
    std::uint64_t confusion_other = 0;
    HitWindow window;
    Importance importance;
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
  void count_confusion(Model& model, const Labels::ClassPair& pair);
  static Json confusion_json(const Model& model, const Labels& labels);

  Limits limits_;
  std::vector<Model> models_;
  HashIndex index_;
  std::optional<std::uint32_t> other_;
  std::vector<std::uint32_t> touched_;
  std::vector<BehaviorRow> closed_rows_;
  std::uint64_t rows_dropped_ = 0;
};

}  // namespace ephor::ml_monitor
