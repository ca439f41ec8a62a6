// SPDX-License-Identifier: Apache-2.0
//
// Joins decisions, predictions, outcomes, regimes and paths, and keeps the figures of each
// ensemble.
//
// What depends on order (learned weights, regret, windows, histories, regime changes) is done when
// log time passes it, in order of event time, then id; so neither the order of arrival nor where
// slices end changes a result. What was flagged late takes part in sums only.
#pragma once

#include <cstdint>
#include <ephor/findings.hpp>
#include <ephor/id_set.hpp>
#include <ephor/ledger.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "group.hpp"
#include "open_decisions.hpp"
#include "reading.hpp"
#include "regimes.hpp"
#include "settings.hpp"

namespace ephor::ensemble_tracker {

struct EventFacts {
  std::int64_t time_ns = 0;
  std::uint64_t sequence = 0;
  std::uint64_t correlation = 0;
  bool is_late = false;
};

struct TrackerCounts {
  std::uint64_t decisions = 0;  // distinct
  std::uint64_t repeated_decisions = 0;
  std::uint64_t predictions = 0;
  std::uint64_t repeated_predictions = 0;
  std::uint64_t predictions_unlinked = 0;  // no decision id, no correlation id
  std::uint64_t predictions_after_close = 0;
  std::uint64_t predictions_without_decision = 0;  // given up
  std::uint64_t outcomes = 0;                      // that found or made a place
  std::uint64_t repeated_outcomes = 0;
  std::uint64_t corrected_outcomes = 0;  // another value than the first, which stays
  std::uint64_t outcomes_not_classes = 0;
  std::uint64_t outcomes_ambiguous = 0;
  std::uint64_t outcomes_without_decision = 0;  // given up
  std::uint64_t late_answers = 0;               // of decisions closed without
  std::uint64_t paths = 0;
  std::uint64_t repeated_paths = 0;
  std::uint64_t regimes = 0;
  std::uint64_t late_regimes = 0;
  std::uint64_t transitions_told = 0;  // ephor.regime_transition events
  std::uint64_t closed_early = 0;      // to make room
  std::uint64_t beyond_members = 0;    // of one decision
};

class Tracker {
 public:
  // Reads a closed decision that is not in memory back from its row.
  using FindRow = std::function<std::optional<Decision>(std::string_view decision_id)>;
  // The correlation id's text of the event in hand; asked only for decisions.
  using Text = std::function<std::string_view()>;

  Tracker(const Settings& settings, std::string instance, FindRow find_row);

  void add_decision(const DecisionNews& news, const std::vector<ToldNumber>& classes,
                    const EventFacts& facts, std::string_view correlation_id);
  void add_prediction(const PredictionNews& news, const std::vector<ToldNumber>& classes,
                      const EventFacts& facts);
  void add_outcome(const OutcomeNews& news, const EventFacts& facts);
  void add_regime(const RegimeNews& news, const EventFacts& facts);
  void add_path(const PathNews& news, const EventFacts& facts);
  void count_transition_told() { ++counts_.transitions_told; }
  // Log time is `time_ns`. `is_flush`: everything up to and with it is released.
  void advance(std::int64_t time_ns, bool is_flush);

  void write(StateWriter& out) const;
  void read(StateReader& in);

  const Settings& settings() const { return settings_; }
  const TrackerCounts& counts() const { return counts_; }
  const std::vector<std::unique_ptr<Group>>& groups() const { return groups_; }
  std::vector<std::unique_ptr<Group>>& groups() { return groups_; }
  // All ensembles together; null before the first decision.
  const Group* overall() const;
  Group* overall_group() { return overall_.get(); }  // null while there is one ensemble
  const RegimeTracker& regimes() const { return regimes_; }
  RegimeTracker& regimes() { return regimes_; }
  const OpenDecisions& open() const { return open_; }
  OpenDecisions& open() { return open_; }
  Ledger<Decision>& closed() { return closed_; }
  const Ledger<Decision>& closed() const { return closed_; }
  IdSet& decision_ids() { return decision_ids_; }
  Findings& findings() { return findings_; }
  const Findings& findings() const { return findings_; }
  std::int64_t log_time_ns() const { return log_time_ns_; }

  // A decision by its id, open or closed; empty if there is none.
  std::optional<Decision> find(std::string_view decision_id);
  PathRules const& path_rules() const { return path_rules_; }

  Labels& labels() { return labels_; }
  Names& models() { return models_; }
  Names& ensembles() { return ensembles_; }
  Names& symbols() { return symbols_; }
  Names& regime_names() { return regime_names_; }
  Names& steps() { return steps_; }
  const Labels& labels() const { return labels_; }
  const Names& models() const { return models_; }
  const Names& ensembles() const { return ensembles_; }
  const Names& symbols() const { return symbols_; }
  const Names& regime_names() const { return regime_names_; }
  const Names& steps() const { return steps_; }
  NameId intern_regime(std::string_view name);

 private:
  enum class Step : std::uint8_t { view, answer };
  struct Due {
    std::int64_t time_ns;
    std::uint32_t slot;
    std::uint32_t generation;
    Step step;
  };
  static bool is_later(const Due& a, const Due& b) { return a.time_ns > b.time_ns; }

  std::uint32_t add_open(const EventFacts& facts);
  void make_room(std::uint32_t keep);
  // A cycle of this correlation id that may be the one of this ensemble, symbol and model.
  std::uint32_t find_correlated(std::uint64_t correlation, NameId ensemble, NameId symbol,
                                NameId model, std::uint64_t prediction_key,
                                bool wants_undecided) const;
  void set_decision_id(std::uint32_t slot, std::string_view id, std::uint64_t key);
  Member* member_of(std::uint32_t slot, NameId model);
  void fill_member(Decision& decision, Member& member, const ToldMember& told,
                   const std::vector<ToldNumber>& classes);
  void merge(std::uint32_t into, std::uint32_t from);
  void set_outcome(std::uint32_t slot, std::size_t member, NameId actual, const EventFacts& facts);
  void set_decision_outcome(std::uint32_t slot, NameId actual, double realized_return,
                            const EventFacts& facts);
  void answer_closed(std::uint64_t key, std::string_view id, NameId model, NameId actual,
                     double realized_return, const EventFacts& facts);
  Decision* find_closed(std::uint64_t key, std::string_view id);
  void note_answer(std::uint32_t slot);
  void schedule(std::uint32_t slot, Step step, std::int64_t time_ns);
  void attach_path(Decision& decision, const PathView& view, std::string json);
  void count_path(Decision& decision, const PathView& view, std::string_view final_decision);
  // By name, so that no sum depends on the order of arrival.
  void sort_members(std::uint32_t slot);
  void view(std::uint32_t slot);
  void answer(std::uint32_t slot);
  void give_up(std::uint32_t slot);
  void close(std::uint32_t slot, Stage stage);
  void check_bound(const Group& group, std::int64_t time_ns);
  void judge_mix(const Group& group, MixWatch::Verdict verdict, std::int64_t time_ns);

  Group* group_of(NameId ensemble);
  template <typename Visit>
  void for_groups(const Decision& decision, Visit&& visit);

  Settings settings_;
  FindRow find_row_;
  PathRules path_rules_;
  Labels labels_;
  Names models_;
  Names ensembles_;
  Names symbols_;
  Names regime_names_;
  Names steps_;
  std::map<std::string, std::string, std::less<>> regime_aliases_;
  OpenDecisions open_;
  Ledger<Decision> closed_;
  IdSet decision_ids_;
  std::vector<Due> due_;  // a heap, the earliest first; made anew from what is open when loaded
  std::vector<Due> passed_;
  std::vector<RegimeObservation> waiting_regimes_;
  RegimeTracker regimes_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::unique_ptr<Group> overall_;
  std::vector<std::uint32_t> group_by_ensemble_;  // index + 1
  Findings findings_;
  TrackerCounts counts_;
  std::int64_t log_time_ns_ = INT64_MIN;
  // Of the path in hand.
  PathView path_view_;
};

}  // namespace ephor::ensemble_tracker
