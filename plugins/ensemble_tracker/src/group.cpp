// SPDX-License-Identifier: Apache-2.0
#include "group.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ensemble_tracker {

Group::Group(NameId ensemble, const Settings& settings, const Labels& labels)
    : ensemble_(ensemble),
      max_members_(settings.max_members),
      max_hours_(settings.max_hours),
      tracks_regimes_(settings.enable_regime_tracking),
      hold_(labels.hold()),
      buy_(labels.buy()),
      sell_(labels.sell()),
      window_(settings.window_decisions),
      learner_({settings.learning_rate, settings.fixed_share}, settings.enable_online_learning,
               settings.max_weight_points),
      mix_watch_(settings.degradation_window, settings.degradation_loss),
      sent_(settings.max_weight_points) {}

void Group::find_slots(const Decision& decision) {
  slots_.resize(decision.members.size());
  for (std::size_t k = 0; k < slots_.size(); ++k) {
    const NameId model = decision.members[k].model;
    std::size_t slot = k;  // members mostly come in one order
    if (slot >= roster_.size() || roster_[slot] != model) {
      slot = static_cast<std::size_t>(std::find(roster_.begin(), roster_.end(), model) -
                                      roster_.begin());
    }
    if (slot == roster_.size()) {
      if (roster_.size() >= max_members_ || model == kNoName) {
        ++beyond_members_;
        slots_[k] = SIZE_MAX;
        continue;
      }
      roster_.push_back(model);
      pairs_.resize(roster_.size() * (roster_.size() - 1) / 2);
      leave_one_out_.resize(roster_.size());
      learner_.grow(roster_.size());
    }
    slots_[k] = slot;
  }
}

HourFigures* Group::hour_of(const Decision& decision) {
  std::int64_t hour = decision.time_ns / kHourNs;
  if (decision.time_ns < 0 && decision.time_ns % kHourNs != 0) --hour;
  auto found = hours_.find(hour);
  if (found == hours_.end()) {
    if (hours_.size() >= max_hours_) {
      // An hour that made room is in its row, which is not added to.
      if (hour < hours_.begin()->first) {
        ++beyond_hours_;
        return nullptr;
      }
      if (hours_.begin()->second.is_changed)
        leaving_.insert(hours_.extract(hours_.begin()));
      else
        hours_.erase(hours_.begin());
    }
    found = hours_.emplace(hour, HourFigures()).first;
  }
  found->second.is_changed = true;
  return &found->second;
}

bool Group::has_weights(const Decision& decision) {
  weights_.resize(decision.members.size());
  bool is_any = false;
  for (std::size_t k = 0; k < weights_.size(); ++k) {
    weights_[k] = decision.members[k].weight;
    is_any = is_any || weights_[k] > 0.0;
  }
  return is_any;
}

void Group::count_override(OverrideCounts& counts, NameId label, NameId vote) const {
  if (label == kNoName || vote == kNoName) return;
  ++counts.both;
  if (label != vote) ++counts.overrides;
}

void Group::count_override_outcome(OverrideCounts& counts, NameId label, NameId vote,
                                   NameId actual) {
  if (label == kNoName || vote == kNoName || label == vote || actual == kNoName) return;
  ++counts.known;
  if (label == actual) ++counts.right;
  if (vote == actual) ++counts.vote_right;
}

void Group::view(const Decision& decision) {
  find_slots(decision);
  ++viewed_;
  last_decision_ns_ = std::max(last_decision_ns_, decision.time_ns);
  ++totals_[regime_of(decision)].decisions[decision.final_label];
  HourFigures* hour = hour_of(decision);
  if (hour != nullptr) ++hour->cells[regime_of(decision)].decisions[decision.final_label];

  if (std::isfinite(decision.consensus_level)) {
    ++agreement_.consensus_told;
    agreement_.consensus_sum += decision.consensus_level;
  }
  if (std::isfinite(decision.disagreement_score)) {
    ++agreement_.disagreement_told;
    agreement_.disagreement_sum += decision.disagreement_score;
  }
  const Majority majority = majority_of(decision);
  if (majority.voters > 1) {
    ++agreement_.computed;
    agreement_.share_sum += majority.share;
    agreement_.entropy_sum += majority.entropy;
    if (majority.is_tie) ++agreement_.ties;
    ++agreement_.pairs;
    agreement_.pairwise_sum += majority.pairwise;
  }
  for (std::size_t b = 1; b < slots_.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      const Member& first = decision.members[a];
      const Member& second = decision.members[b];
      if (slots_[a] == SIZE_MAX || slots_[b] == SIZE_MAX || first.label == kNoName ||
          second.label == kNoName) {
        continue;
      }
      PairCounts& pair =
          pairs_[pair_index(std::min(slots_[a], slots_[b]), std::max(slots_[a], slots_[b]))];
      ++pair.voted;
      if (first.label == second.label) ++pair.agreed;
    }
  }
  if (!has_weights(decision)) return;
  const NameId vote = votes_.count(decision, weights_).label;
  count_override(meta_overrides_, decision.meta_label, vote);
  count_override(final_overrides_, decision.final_label, vote);
  std::vector<double> by_slot(roster_.size(), kUnknown);
  for (std::size_t k = 0; k < slots_.size(); ++k) {
    if (slots_[k] != SIZE_MAX) by_slot[slots_[k]] = weights_[k];
  }
  if (!decision.is_late) sent_.add(decision.time_ns, by_slot);
  if (hour != nullptr && (decision.time_ns > hour->sent_ns ||
                          (decision.time_ns == hour->sent_ns && decision.id > hour->sent_id))) {
    hour->sent_ns = decision.time_ns;
    hour->sent_id = decision.id;
    hour->sent = std::move(by_slot);
  }
}

void Group::score(std::size_t track, NameId label, NameId actual, double brier) {
  if (actual == kNoName || (label == kNoName && !(brier == brier))) return;
  Score one;
  if (label != kNoName) {
    const bool is_right = label == actual;
    one.known = 1;
    one.correct = is_right ? 1 : 0;
    one.acted = label != hold_ ? 1 : 0;
    one.acted_correct = is_right && label != hold_ ? 1 : 0;
    known_bits_ |= std::uint64_t{1} << track;
    if (is_right) correct_bits_ |= std::uint64_t{1} << track;
  }
  if (brier == brier) {
    one.briers = 1;
    one.brier_sum = brier;
  }
  total_cell_->track(track).add(one);
  if (hour_cell_ != nullptr) hour_cell_->track(track).add(one);
}

MixWatch::Verdict Group::answer(const Decision& decision, bool in_order) {
  find_slots(decision);
  ++answered_;
  known_bits_ = 0;
  correct_bits_ = 0;
  HourFigures* hour = hour_of(decision);
  total_cell_ = &totals_[regime_of(decision)];
  hour_cell_ = hour == nullptr ? nullptr : &hour->cells[regime_of(decision)];
  const NameId actual = decision.common_actual();

  score(kFinal, decision.final_label, actual, kUnknown);
  score(kPrimary, decision.primary_label, actual, kUnknown);
  score(kMeta, decision.meta_label, actual, kUnknown);
  if (std::isfinite(decision.meta_score) && (actual == buy_ || actual == sell_)) {
    score(kMetaScore, decision.meta_score > 0.5 ? buy_ : sell_, actual, kUnknown);
  }
  score(kMajority, majority_of(decision).label, actual, kUnknown);
  for (std::size_t k = 0; k < slots_.size(); ++k) {
    const Member& member = decision.members[k];
    const NameId own = decision.actual_of(member);
    if (slots_[k] == SIZE_MAX || own == kNoName) continue;
    score(kFixedTracks + slots_[k], member.label, own,
          has_probabilities(decision, member) ? brier_loss(decision, member, own) : kUnknown);
  }
  for (std::size_t b = 1; b < slots_.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      const std::size_t first = slots_[a] < slots_[b] ? a : b;
      const std::size_t second = first == a ? b : a;
      const Member& one = decision.members[first];
      const Member& other = decision.members[second];
      const NameId one_actual = decision.actual_of(one);
      const NameId other_actual = decision.actual_of(other);
      if (slots_[second] == SIZE_MAX || one.label == kNoName || other.label == kNoName ||
          one_actual == kNoName || other_actual == kNoName) {
        continue;
      }
      PairCounts& pair = pairs_[pair_index(slots_[first], slots_[second])];
      const bool is_one = one.label == one_actual;
      const bool is_other = other.label == other_actual;
      ++(is_one ? (is_other ? pair.both_right : pair.first_right)
                : (is_other ? pair.second_right : pair.both_wrong));
    }
  }

  const bool is_weighted = has_weights(decision);
  if (is_weighted) {
    const WeightedVote vote = votes_.count(decision, weights_);
    score(kWeighted, vote.label, actual, kUnknown);
    count_override_outcome(meta_overrides_, decision.meta_label, vote.label, actual);
    count_override_outcome(final_overrides_, decision.final_label, vote.label, actual);
    for (std::size_t k = 0; actual != kNoName && k < slots_.size(); ++k) {
      if (slots_[k] == SIZE_MAX || !(weights_[k] > 0.0) || !decision.members[k].has_said())
        continue;
      LeaveOneOut& out = leave_one_out_[slots_[k]];
      const NameId without = votes_.count(decision, weights_, k).label;
      ++out.known;
      if (vote.label == actual) ++out.with_right;
      if (without == actual) ++out.without_right;
      if (without != vote.label) ++out.flips;
    }
  }
  if (!in_order) {
    ++out_of_order_;
    return MixWatch::Verdict::nothing;
  }
  if (learner_.is_enabled()) {
    learner_.member_weights(slots_, learned_);
    score(kLearned, votes_.count(decision, learned_).label, actual, kUnknown);
  }
  const double excess = learner_.add(decision, slots_, weights_);
  if (hour != nullptr && learner_.is_enabled() && decision.answer_ns() >= hour->learned_ns) {
    hour->learned_ns = decision.answer_ns();
    hour->learned = learner_.history().latest().weights;
  }
  window_.add(known_bits_, correct_bits_);
  return std::isfinite(excess) ? mix_watch_.add(decision.answer_ns(), excess)
                               : MixWatch::Verdict::nothing;
}

void Group::write(StateWriter& out) const {
  out.varint(ensemble_).varint(roster_.size());
  for (const NameId model : roster_) out.varint(model);
  ensemble_tracker::write(out, totals_);
  out.varint(hours_.size());
  for (const auto& [hour, figures] : hours_) {
    out.signed_varint(hour);
    ensemble_tracker::write(out, figures.cells);
    out.i64(figures.sent_ns).text(figures.sent_id).varint(figures.sent.size());
    for (const double weight : figures.sent) out.f64(weight);
    out.i64(figures.learned_ns).varint(figures.learned.size());
    for (const double weight : figures.learned) out.f64(weight);
  }
  for (const PairCounts& pair : pairs_) {
    out.varint(pair.voted).varint(pair.agreed).varint(pair.both_right).varint(pair.first_right);
    out.varint(pair.second_right).varint(pair.both_wrong);
  }
  for (const LeaveOneOut& one : leave_one_out_) {
    out.varint(one.known).varint(one.with_right).varint(one.without_right).varint(one.flips);
  }
  for (const OverrideCounts* counts : {&meta_overrides_, &final_overrides_}) {
    out.varint(counts->both).varint(counts->overrides).varint(counts->known);
    out.varint(counts->right).varint(counts->vote_right);
  }
  const AgreementSums& sums = agreement_;
  out.varint(sums.consensus_told).varint(sums.disagreement_told).varint(sums.computed);
  out.varint(sums.pairs).varint(sums.ties).f64(sums.consensus_sum).f64(sums.disagreement_sum);
  out.f64(sums.share_sum).f64(sums.pairwise_sum).f64(sums.entropy_sum);
  window_.write(out);
  learner_.write(out);
  mix_watch_.write(out);
  sent_.write(out);
  ensemble_tracker::write(out, paths_);
  out.varint(viewed_).varint(answered_).varint(unanswered_).varint(beyond_members_);
  out.varint(beyond_hours_).varint(out_of_order_).i64(last_decision_ns_);
}

void Group::read(StateReader& in) {
  ensemble_ = static_cast<NameId>(in.varint());
  roster_.resize(in.count());
  for (NameId& model : roster_) model = static_cast<NameId>(in.varint());
  ensemble_tracker::read(in, totals_);
  hours_.clear();
  for (std::size_t left = in.count(20); left > 0; --left) {
    HourFigures& figures = hours_[in.signed_varint()];
    ensemble_tracker::read(in, figures.cells);
    figures.sent_ns = in.i64();
    figures.sent_id = in.text();
    figures.sent.resize(in.count(8));
    for (double& weight : figures.sent) weight = in.f64();
    figures.learned_ns = in.i64();
    figures.learned.resize(in.count(8));
    for (double& weight : figures.learned) weight = in.f64();
    figures.is_changed = false;
  }
  if (roster_.size() > 56) throw Error(EPHOR_INVALID, "state: too many members");
  pairs_.resize(roster_.size() < 2 ? 0 : roster_.size() * (roster_.size() - 1) / 2);
  for (PairCounts& pair : pairs_) {
    pair.voted = in.varint();
    pair.agreed = in.varint();
    pair.both_right = in.varint();
    pair.first_right = in.varint();
    pair.second_right = in.varint();
    pair.both_wrong = in.varint();
  }
  leave_one_out_.resize(roster_.size());
  for (LeaveOneOut& one : leave_one_out_) {
    one.known = in.varint();
    one.with_right = in.varint();
    one.without_right = in.varint();
    one.flips = in.varint();
  }
  for (OverrideCounts* counts : {&meta_overrides_, &final_overrides_}) {
    counts->both = in.varint();
    counts->overrides = in.varint();
    counts->known = in.varint();
    counts->right = in.varint();
    counts->vote_right = in.varint();
  }
  AgreementSums& sums = agreement_;
  sums.consensus_told = in.varint();
  sums.disagreement_told = in.varint();
  sums.computed = in.varint();
  sums.pairs = in.varint();
  sums.ties = in.varint();
  sums.consensus_sum = in.f64();
  sums.disagreement_sum = in.f64();
  sums.share_sum = in.f64();
  sums.pairwise_sum = in.f64();
  sums.entropy_sum = in.f64();
  window_.read(in);
  learner_.read(in);
  mix_watch_.read(in);
  sent_.read(in);
  ensemble_tracker::read(in, paths_);
  viewed_ = in.varint();
  answered_ = in.varint();
  unanswered_ = in.varint();
  beyond_members_ = in.varint();
  beyond_hours_ = in.varint();
  out_of_order_ = in.varint();
  last_decision_ns_ = in.i64();
  if (learner_.slot_count() != roster_.size()) {
    throw Error(EPHOR_INVALID, "state: experts that do not fit the members");
  }
}

}  // namespace ephor::ensemble_tracker
