// SPDX-License-Identifier: Apache-2.0
//
// All figures of one ensemble (or of all of them together). A decision is seen twice: when log time
// has passed it (what was decided), and when its outcome is settled (whether that was right).
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <vector>

#include "decision.hpp"
#include "figures.hpp"
#include "learner.hpp"
#include "mix_watch.hpp"
#include "paths.hpp"
#include "settings.hpp"
#include "votes.hpp"

namespace ephor::ensemble_tracker {

inline constexpr std::int64_t kHourNs = 3'600'000'000'000;

struct HourFigures {
  RegimeCells cells;
  std::int64_t sent_ns = INT64_MIN;
  std::string sent_id;       // the later of two decisions of one time is that with the greater id
  std::vector<double> sent;  // by slot
  std::int64_t learned_ns = INT64_MIN;
  std::vector<double> learned;
  bool is_changed = true;
};

class Group {
 public:
  Group(NameId ensemble, const Settings& settings, const Labels& labels);

  void view(const Decision& decision);
  // `in_order`: decisions come in the order of their answers; otherwise only sums are told.
  MixWatch::Verdict answer(const Decision& decision, bool in_order);
  void count_unanswered() { ++unanswered_; }
  void count_path(const PathView& path, Names& names, bool is_held, bool is_refused) {
    paths_.add(path, names, is_held, is_refused);
  }

  NameId ensemble() const { return ensemble_; }
  void set_ensemble(NameId ensemble) { ensemble_ = ensemble; }
  const std::vector<NameId>& roster() const { return roster_; }
  const RegimeCells& totals() const { return totals_; }
  const std::map<std::int64_t, HourFigures>& hours() const { return hours_; }  // by hour number
  // Calls `row(hour, figures)` for each hour changed since the last call.
  template <typename Row>
  void save_hours(Row&& row) {
    for (const auto& [hour, figures] : leaving_) row(hour, figures);
    leaving_.clear();
    for (auto& [hour, figures] : hours_) {
      if (figures.is_changed) row(hour, figures);
      figures.is_changed = false;
    }
  }
  const PairCounts& pair(std::size_t a, std::size_t b) const { return pairs_[pair_index(a, b)]; }
  const std::vector<LeaveOneOut>& leave_one_out() const { return leave_one_out_; }
  const OverrideCounts& meta_overrides() const { return meta_overrides_; }
  const OverrideCounts& final_overrides() const { return final_overrides_; }
  const AgreementSums& agreement() const { return agreement_; }
  const Window& window() const { return window_; }
  const Learner& learner() const { return learner_; }
  const MixWatch& mix_watch() const { return mix_watch_; }
  const WeightHistory& sent() const { return sent_; }
  const PathCounts& paths() const { return paths_; }
  std::uint64_t viewed() const { return viewed_; }
  std::uint64_t answered() const { return answered_; }
  std::uint64_t unanswered() const { return unanswered_; }
  std::uint64_t beyond_members() const { return beyond_members_; }
  std::uint64_t beyond_hours() const { return beyond_hours_; }
  std::uint64_t out_of_order() const { return out_of_order_; }
  std::int64_t last_decision_ns() const { return last_decision_ns_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  static std::size_t pair_index(std::size_t a, std::size_t b) {  // a < b
    return b * (b - 1) / 2 + a;
  }
  void find_slots(const Decision& decision);
  HourFigures* hour_of(const Decision& decision);
  NameId regime_of(const Decision& decision) const {
    return tracks_regimes_ ? decision.regime : kNoName;
  }
  bool has_weights(const Decision& decision);
  void count_override(OverrideCounts& counts, NameId label, NameId vote) const;
  void count_override_outcome(OverrideCounts& counts, NameId label, NameId vote, NameId actual);
  void score(std::size_t track, NameId label, NameId actual, double brier);

  NameId ensemble_;
  std::size_t max_members_;
  std::size_t max_hours_;
  bool tracks_regimes_;
  NameId hold_;
  NameId buy_;
  NameId sell_;
  std::vector<NameId> roster_;
  RegimeCells totals_;
  std::map<std::int64_t, HourFigures> hours_;
  std::map<std::int64_t, HourFigures> leaving_;  // until their rows are written
  std::vector<PairCounts> pairs_;
  std::vector<LeaveOneOut> leave_one_out_;
  OverrideCounts meta_overrides_;
  OverrideCounts final_overrides_;
  AgreementSums agreement_;
  Window window_;
  Learner learner_;
  MixWatch mix_watch_;
  WeightHistory sent_;
  PathCounts paths_;
  std::uint64_t viewed_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t unanswered_ = 0;
  std::uint64_t beyond_members_ = 0;
  std::uint64_t beyond_hours_ = 0;
  std::uint64_t out_of_order_ = 0;
  std::int64_t last_decision_ns_ = INT64_MIN;
  // Of the decision in hand.
  std::vector<std::size_t> slots_;
  std::vector<double> weights_;
  std::vector<double> learned_;
  VoteCounter votes_;
  std::uint64_t known_bits_ = 0;
  std::uint64_t correct_bits_ = 0;
  Cell* total_cell_ = nullptr;
  Cell* hour_cell_ = nullptr;
};

}  // namespace ephor::ensemble_tracker
