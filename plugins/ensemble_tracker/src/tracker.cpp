// SPDX-License-Identifier: Apache-2.0
#include "tracker.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ephor/text_hash.hpp>
#include <tuple>
#include <utility>

namespace ephor::ensemble_tracker {
namespace {

// 0 stands for "none".
std::uint64_t key_of(std::string_view id) {
  const std::uint64_t hash = hash64(id);
  return hash == 0 ? 1 : hash;
}

// Measured regret is a sum of a million terms; the bound holds up to their rounding.
constexpr double kRegretTolerance = 1e-6;

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

template <typename Value>
bool may_be_same(Value a, Value b, Value none) {
  return a == none || b == none || a == b;
}

}  // namespace

Tracker::Tracker(const Settings& settings, std::string instance, FindRow find_row)
    : settings_(settings),
      find_row_(std::move(find_row)),
      path_rules_(settings),
      labels_(settings.max_names, settings.label_aliases, settings.numeric_outcome_labels,
              settings.hold_label),
      models_(settings.max_names),
      ensembles_(settings.max_names),
      symbols_(settings.max_names),
      regime_names_(settings.max_names),
      steps_(settings.max_names),
      regime_aliases_(settings.regime_aliases.begin(), settings.regime_aliases.end()),
      closed_(settings.max_tracking_history),
      decision_ids_(settings.max_distinct_ids),
      regimes_(settings.max_regime_transitions, settings.flicker_observations, settings.max_names),
      findings_(std::move(instance), "ephor.finding", settings.max_findings) {}

NameId Tracker::intern_regime(std::string_view name) {
  if (!regime_aliases_.empty()) {
    const auto alias = regime_aliases_.find(name);
    if (alias != regime_aliases_.end()) name = alias->second;
  }
  return regime_names_.intern(name);
}

// ---- groups

Group* Tracker::group_of(NameId ensemble) {
  const std::size_t at = ensemble;
  if (at < group_by_ensemble_.size() && group_by_ensemble_[at] != 0) {
    return groups_[group_by_ensemble_[at] - 1].get();
  }
  // The first ensemble's figures are those of all, until there is a second.
  if (!groups_.empty() && overall_ == nullptr) {
    overall_ = std::make_unique<Group>(*groups_.front());
    overall_->set_ensemble(kNoName);
    overall_->save_hours([](std::int64_t, const HourFigures&) {});
  }
  if (groups_.size() >= settings_.max_ensembles) return nullptr;
  if (group_by_ensemble_.size() <= at) group_by_ensemble_.resize(at + 1, 0);
  groups_.push_back(std::make_unique<Group>(ensemble, settings_, labels_));
  group_by_ensemble_[at] = static_cast<std::uint32_t>(groups_.size());
  return groups_.back().get();
}

template <typename Visit>
void Tracker::for_groups(const Decision& decision, Visit&& visit) {
  if (Group* group = group_of(decision.ensemble)) visit(*group);
  if (overall_ != nullptr) visit(*overall_);
}

const Group* Tracker::overall() const {
  if (overall_ != nullptr) return overall_.get();
  return groups_.empty() ? nullptr : groups_.front().get();
}

// ---- finding the decision that an event belongs to

std::uint32_t Tracker::add_open(const EventFacts& facts) {
  const std::uint32_t slot = open_.add(facts.time_ns > INT64_MAX - settings_.outcome_wait_ns
                                           ? INT64_MAX
                                           : facts.time_ns + settings_.outcome_wait_ns);
  Decision& decision = open_.at(slot);
  decision.time_ns = facts.time_ns;
  decision.sequence = facts.sequence;
  decision.stage = Stage::open;
  return slot;
}

// After an event has been taken in: the oldest leave, but not the one in hand.
void Tracker::make_room(std::uint32_t keep) {
  while (open_.size() > settings_.max_open_decisions) {
    std::uint32_t slot = open_.oldest();
    if (slot == keep) slot = open_.next(slot);
    if (slot == OpenDecisions::kNone) return;
    ++counts_.closed_early;
    give_up(slot);
  }
}

std::uint32_t Tracker::find_correlated(std::uint64_t correlation, NameId ensemble, NameId symbol,
                                       NameId model, std::uint64_t prediction_key,
                                       bool wants_undecided) const {
  std::uint32_t best = OpenDecisions::kNone;
  for (std::uint32_t slot = open_.first_correlated(correlation); slot != OpenDecisions::kNone;
       slot = open_.next_correlated(slot)) {
    const Decision& one = open_.at(slot);
    if (!may_be_same(one.ensemble, ensemble, kNoName)) continue;
    if (!may_be_same(one.symbol, symbol, kNoName)) continue;
    if (wants_undecided && (one.is_decided || one.key != 0)) continue;
    if (model != kNoName) {
      const auto known = std::find_if(one.members.begin(), one.members.end(),
                                      [&](const Member& m) { return m.model == model; });
      if (known != one.members.end() && known->prediction_key != 0 &&
          known->prediction_key != prediction_key) {
        continue;  // it has spoken here already
      }
    }
    if (one.ensemble == ensemble && one.symbol == symbol) return slot;
    if (best == OpenDecisions::kNone) best = slot;
  }
  return best;
}

void Tracker::set_decision_id(std::uint32_t slot, std::string_view id, std::uint64_t key) {
  if (open_.at(slot).key != 0) return;
  open_.at(slot).id = id;
  open_.set_id(slot, key);
}

Member* Tracker::member_of(std::uint32_t slot, NameId model) {
  Decision& decision = open_.at(slot);
  if (Member* known = decision.find_member(model)) return known;
  if (decision.members.size() >= OpenDecisions::kMembersMax) {
    ++counts_.beyond_members;
    return nullptr;
  }
  decision.members.emplace_back();
  decision.members.back().model = model;
  return &decision.members.back();
}

void Tracker::fill_member(Decision& decision, Member& member, const ToldMember& told,
                          const std::vector<ToldNumber>& classes) {
  const auto& prediction = told.prediction;
  if (!member.has_said() && prediction.has_value()) {
    member.label = labels_.of_prediction(prediction.label, prediction.number);
    if (prediction.number) member.score = *prediction.number;
  }
  if (!(member.confidence == member.confidence)) member.confidence = told.confidence;
  if (member.class_count != 0 || told.class_count == 0) return;
  if (decision.classes.size() + told.class_count >= kNoName) return;
  member.class_begin = static_cast<std::uint16_t>(decision.classes.size());
  member.class_count = static_cast<std::uint16_t>(told.class_count);
  for (std::size_t i = 0; i < told.class_count; ++i) {
    const ToldNumber& one = classes[told.class_begin + i];
    decision.classes.push_back({labels_.intern(one.name), one.value});
  }
}

// Two places turned out to be one decision.
void Tracker::merge(std::uint32_t into, std::uint32_t from) {
  Decision moved = open_.at(from);
  open_.release(from);
  open_.set_correlation(into, moved.correlation);
  Decision& target = open_.at(into);
  target.sequence = std::min(target.sequence, moved.sequence);
  target.is_late = target.is_late || moved.is_late;
  if (target.ensemble == kNoName) target.ensemble = moved.ensemble;
  if (target.symbol == kNoName) target.symbol = moved.symbol;
  if (target.regime == kNoName) target.regime = moved.regime;
  if (target.actual == kNoName) {
    target.actual = moved.actual;
    target.actual_ns = moved.actual_ns;
    target.realized_return = moved.realized_return;
  }
  if (target.path_json.empty()) {
    target.path_json = std::move(moved.path_json);
    target.meta_score = moved.meta_score;
    target.stopped_by = moved.stopped_by;
  }
  for (const Member& member : moved.members) {
    Member* known = target.find_member(member.model);
    if (known != nullptr && (known->has_said() || known->has_outcome())) continue;
    if (known == nullptr) known = member_of(into, member.model);
    if (known == nullptr) return;
    const double weight = known->weight;
    *known = member;
    if (weight == weight) known->weight = weight;
    known->class_begin = static_cast<std::uint16_t>(target.classes.size());
    for (std::size_t i = 0; i < member.class_count; ++i) {
      target.classes.push_back(moved.classes[member.class_begin + i]);
    }
    if (member.prediction_key != 0) {
      open_.set_prediction(into, static_cast<std::size_t>(known - target.members.data()),
                           member.prediction_key);
    }
  }
}

// ---- events

void Tracker::add_decision(const DecisionNews& news, const std::vector<ToldNumber>& classes,
                           const EventFacts& facts, std::string_view correlation_id) {
  const std::uint64_t key = key_of(news.decision_id);
  const NameId ensemble = ensembles_.intern(news.ensemble_id);
  const NameId symbol = symbols_.intern(news.symbol);
  std::uint32_t slot = open_.find_id(key);
  if ((slot != OpenDecisions::kNone && open_.at(slot).is_decided) ||
      (slot == OpenDecisions::kNone && decision_ids_.may_contain(key))) {
    ++counts_.repeated_decisions;
    return;
  }
  const std::uint32_t beside =
      find_correlated(facts.correlation, ensemble, symbol, kNoName, 0, true);
  if (slot == OpenDecisions::kNone) {
    slot = beside != OpenDecisions::kNone ? beside : add_open(facts);
  } else if (beside != OpenDecisions::kNone && beside != slot) {
    merge(slot, beside);
  }
  set_decision_id(slot, news.decision_id, key);
  open_.set_correlation(slot, facts.correlation);
  decision_ids_.insert(key);
  ++counts_.decisions;

  Decision& decision = open_.at(slot);
  decision.is_decided = true;
  decision.time_ns = facts.time_ns;
  open_.set_deadline(slot, facts.time_ns > INT64_MAX - settings_.outcome_wait_ns
                               ? INT64_MAX
                               : facts.time_ns + settings_.outcome_wait_ns);
  decision.correlation_id = correlation_id;
  decision.is_late = decision.is_late || facts.is_late;
  decision.ensemble = ensemble;
  if (symbol != kNoName) decision.symbol = symbol;
  if (const NameId regime = intern_regime(news.regime); regime != kNoName) {
    decision.regime = regime;
    decision.is_regime_own = true;
  }
  decision.final_label =
      labels_.of_prediction(news.final_decision.label, news.final_decision.number);
  if (news.final_decision.number) decision.final_score = *news.final_decision.number;
  decision.primary_label = labels_.of_prediction(news.primary.label, news.primary.number);
  decision.meta_label = labels_.of_prediction(news.meta.label, news.meta.number);
  decision.primary_confidence = news.primary_confidence;
  decision.meta_confidence = news.meta_confidence;
  decision.consensus_level = news.consensus_level;
  decision.disagreement_score = news.disagreement_score;
  for (const ToldMember& told : news.members) {
    Member* member = member_of(slot, models_.intern(told.model_id));
    if (member != nullptr) fill_member(decision, *member, told, classes);
  }
  for (const ToldNumber& weight : news.weights) {
    Member* member = member_of(slot, models_.intern(weight.name));
    if (member != nullptr) member->weight = weight.value;
  }
  if (!decision.path_json.empty()) {
    Json json;
    Path path;
    read_path(decision.path_json, json, path);
    path_rules_.view(path, path_view_);
    count_path(decision, path_view_, path.final_decision);
  }
  open_.mark_changed(slot);
  schedule(slot, Step::view, decision.time_ns);
  note_answer(slot);
  make_room(slot);
}

void Tracker::add_prediction(const PredictionNews& news, const std::vector<ToldNumber>& classes,
                             const EventFacts& facts) {
  ++counts_.predictions;
  const std::uint64_t key = news.prediction_id.empty() ? 0 : key_of(news.prediction_id);
  const NameId model = models_.intern(news.member.model_id);
  NameId orphan_actual = kNoName;
  EventFacts orphan_facts = facts;
  std::uint32_t slot = OpenDecisions::kNone;
  if (const auto place = key == 0 ? OpenDecisions::Place() : open_.find_prediction(key);
      place.slot != OpenDecisions::kNone) {
    const Decision& there = open_.at(place.slot);
    const Member& member = there.members[place.member];
    if (there.key == 0 && there.correlation == 0 && member.model == kNoName) {
      // An outcome that knew nothing but the prediction's id.
      orphan_actual = member.actual;
      orphan_facts.time_ns = member.outcome_ns;
      orphan_facts.is_late = there.is_late;
      open_.release(place.slot);
    } else {
      slot = place.slot;
    }
  }
  const NameId ensemble = ensembles_.intern(news.ensemble_id);
  const NameId symbol = symbols_.intern(news.symbol);
  if (slot == OpenDecisions::kNone && !news.decision_id.empty()) {
    const std::uint64_t decision_key = key_of(news.decision_id);
    slot = open_.find_id(decision_key);
    if (slot == OpenDecisions::kNone && decision_ids_.may_contain(decision_key)) {
      ++counts_.predictions_after_close;
      return;
    }
    if (slot == OpenDecisions::kNone) {
      slot = add_open(facts);
      set_decision_id(slot, news.decision_id, decision_key);
    }
  }
  if (slot == OpenDecisions::kNone) {
    if (facts.correlation == 0) {
      ++counts_.predictions_unlinked;
      return;
    }
    slot = find_correlated(facts.correlation, ensemble, symbol, model, key, false);
    if (slot == OpenDecisions::kNone) {
      slot = add_open(facts);
      open_.set_correlation(slot, facts.correlation);
    }
  }
  Decision& decision = open_.at(slot);
  if (decision.ensemble == kNoName) decision.ensemble = ensemble;
  if (decision.symbol == kNoName) decision.symbol = symbol;
  if (decision.regime == kNoName) decision.regime = intern_regime(news.regime);
  Member* member = member_of(slot, model);
  if (member == nullptr) return;
  if (std::exchange(member->is_predicted, true)) {
    ++counts_.repeated_predictions;
    return;
  }
  decision.is_late = decision.is_late || facts.is_late;
  fill_member(decision, *member, news.member, classes);
  const auto at = static_cast<std::size_t>(member - decision.members.data());
  if (key != 0 && member->prediction_key == 0) open_.set_prediction(slot, at, key);
  open_.mark_changed(slot);
  if (orphan_actual != kNoName) set_outcome(slot, at, orphan_actual, orphan_facts);
  make_room(slot);
}

void Tracker::add_outcome(const OutcomeNews& news, const EventFacts& facts) {
  const NameId actual = labels_.of_outcome(news.actual.label, news.actual.number);
  if (actual == kNoName) {
    ++counts_.outcomes_not_classes;
    return;
  }
  const std::uint64_t key = news.prediction_id.empty() ? 0 : key_of(news.prediction_id);
  if (key != 0) {
    const auto place = open_.find_prediction(key);
    if (place.slot != OpenDecisions::kNone) {
      set_outcome(place.slot, place.member, actual, facts);
      return;
    }
  }
  const NameId model = models_.intern(news.model_id);
  std::uint32_t slot = OpenDecisions::kNone;
  if (!news.decision_id.empty()) {
    const std::uint64_t decision_key = key_of(news.decision_id);
    slot = open_.find_id(decision_key);
    if (slot == OpenDecisions::kNone && decision_ids_.may_contain(decision_key)) {
      answer_closed(decision_key, news.decision_id, model, actual, news.realized_return, facts);
      return;
    }
    if (slot == OpenDecisions::kNone) {
      slot = add_open(facts);
      set_decision_id(slot, news.decision_id, decision_key);
    }
    if (model == kNoName) {
      set_decision_outcome(slot, actual, news.realized_return, facts);
      make_room(slot);
      return;
    }
  } else if (facts.correlation != 0 && model != kNoName) {
    // Of the decisions that share the correlation id, the one its model took part in.
    std::uint32_t with_model = OpenDecisions::kNone;
    std::size_t matches = 0;
    std::size_t all = 0;
    for (std::uint32_t at = open_.first_correlated(facts.correlation); at != OpenDecisions::kNone;
         at = open_.next_correlated(at)) {
      ++all;
      slot = at;
      const Member* member = open_.at(at).find_member(model);
      if (member == nullptr || (key != 0 && member->prediction_key != 0)) continue;
      with_model = at;
      ++matches;
    }
    if (matches > 1 || (matches == 0 && all > 1)) {
      ++counts_.outcomes_ambiguous;
      return;
    }
    if (matches == 1) slot = with_model;
    if (slot == OpenDecisions::kNone) {
      slot = add_open(facts);
      open_.set_correlation(slot, facts.correlation);
    }
  } else if (key != 0) {
    slot = add_open(facts);  // waits for its prediction
  } else {
    ++counts_.outcomes_ambiguous;
    return;
  }
  Member* member = member_of(slot, model);
  if (member == nullptr) return;
  const auto at = static_cast<std::size_t>(member - open_.at(slot).members.data());
  if (key != 0 && member->prediction_key == 0) open_.set_prediction(slot, at, key);
  set_outcome(slot, at, actual, facts);
  make_room(slot);
}

void Tracker::set_outcome(std::uint32_t slot, std::size_t at, NameId actual,
                          const EventFacts& facts) {
  Decision& decision = open_.at(slot);
  Member& member = decision.members[at];
  if (member.has_outcome()) {
    ++(member.actual == actual ? counts_.repeated_outcomes : counts_.corrected_outcomes);
    return;
  }
  ++counts_.outcomes;
  member.actual = actual;
  member.outcome_ns = facts.time_ns;
  decision.is_late = decision.is_late || facts.is_late;
  open_.mark_changed(slot);
  note_answer(slot);
}

void Tracker::set_decision_outcome(std::uint32_t slot, NameId actual, double realized_return,
                                   const EventFacts& facts) {
  Decision& decision = open_.at(slot);
  if (decision.actual != kNoName) {
    ++(decision.actual == actual ? counts_.repeated_outcomes : counts_.corrected_outcomes);
    return;
  }
  ++counts_.outcomes;
  decision.actual = actual;
  decision.actual_ns = facts.time_ns;
  decision.realized_return = realized_return;
  decision.is_late = decision.is_late || facts.is_late;
  open_.mark_changed(slot);
  note_answer(slot);
}

Decision* Tracker::find_closed(std::uint64_t key, std::string_view id) {
  if (Decision* found = closed_.find(key)) return found;
  std::optional<Decision> stored = find_row_(id);
  return stored ? &closed_.insert(key, std::move(*stored)) : nullptr;
}

// An outcome for a decision that was closed without one: sums still take it.
void Tracker::answer_closed(std::uint64_t key, std::string_view id, NameId model, NameId actual,
                            double realized_return, const EventFacts& facts) {
  Decision* decision = find_closed(key, id);
  if (decision == nullptr || decision->stage == Stage::answered) {
    ++counts_.repeated_outcomes;
    return;
  }
  if (model != kNoName) {
    Member* member = decision->find_member(model);
    if (member == nullptr) {
      ++counts_.outcomes_ambiguous;
      return;
    }
    member->actual = actual;
    member->outcome_ns = facts.time_ns;
  } else {
    decision->actual = actual;
    decision->actual_ns = facts.time_ns;
    decision->realized_return = realized_return;
  }
  ++counts_.outcomes;
  ++counts_.late_answers;
  decision->stage = Stage::answered;
  for_groups(*decision, [&](Group& group) { group.answer(*decision, false); });
  closed_.mark_changed(key);
}

void Tracker::add_regime(const RegimeNews& news, const EventFacts& facts) {
  ++counts_.regimes;
  const NameId regime = intern_regime(news.regime);
  if (regime == kNoName) return;
  const NameId symbol = symbols_.intern(news.symbol);
  // The decision beside it may not name one itself.
  std::uint32_t slot =
      news.decision_id.empty() ? OpenDecisions::kNone : open_.find_id(key_of(news.decision_id));
  if (slot == OpenDecisions::kNone && news.decision_id.empty()) {
    slot = find_correlated(facts.correlation, kNoName, symbol, kNoName, 0, false);
  }
  if (slot != OpenDecisions::kNone && open_.at(slot).regime == kNoName &&
      !open_.at(slot).is_viewed) {
    open_.at(slot).regime = regime;
    open_.mark_changed(slot);
  }
  if (facts.is_late) {
    ++counts_.late_regimes;
    return;
  }
  waiting_regimes_.push_back(
      {facts.time_ns, symbol, regime, news.confidence, news.duration, facts.sequence});
}

void Tracker::attach_path(Decision& decision, const PathView& view, std::string json) {
  decision.path_json = std::move(json);
  decision.meta_score = view.meta_score;
  if (view.first_failed != SIZE_MAX) {
    decision.stopped_by = steps_.intern(view.gates[view.first_failed].step);
  }
}

void Tracker::add_path(const PathNews& news, const EventFacts& facts) {
  if (news.decision_id.empty()) throw Error(EPHOR_INVALID, "a path without decision_id");
  path_rules_.view(news.path, path_view_);
  const std::uint64_t key = key_of(news.decision_id);
  std::uint32_t slot = open_.find_id(key);
  if (slot == OpenDecisions::kNone && decision_ids_.may_contain(key)) {
    Decision* closed = find_closed(key, news.decision_id);
    if (closed == nullptr || !closed->path_json.empty()) {
      ++counts_.repeated_paths;
      return;
    }
    ++counts_.paths;
    attach_path(*closed, path_view_, news.json);
    count_path(*closed, path_view_, news.path.final_decision);
    closed_.mark_changed(key);
    return;
  }
  if (slot == OpenDecisions::kNone) {
    slot = find_correlated(facts.correlation, kNoName, kNoName, kNoName, 0, true);
    if (slot == OpenDecisions::kNone) slot = add_open(facts);
    set_decision_id(slot, news.decision_id, key);
    open_.set_correlation(slot, facts.correlation);
  }
  Decision& decision = open_.at(slot);
  if (!decision.path_json.empty()) {
    ++counts_.repeated_paths;
    return;
  }
  ++counts_.paths;
  attach_path(decision, path_view_, news.json);
  if (decision.is_decided) count_path(decision, path_view_, news.path.final_decision);
  open_.mark_changed(slot);
  make_room(slot);
}

// Once decision and path are both there.
void Tracker::count_path(Decision& decision, const PathView& view,
                         std::string_view final_decision) {
  NameId final_label = decision.final_label;
  if (final_label == kNoName) final_label = labels_.intern(final_decision);
  const bool is_held = final_label == labels_.hold();
  const bool is_refused =
      is_held && decision.primary_label != kNoName && decision.primary_label != labels_.hold();
  if (!is_held) decision.stopped_by = kNoName;
  for_groups(decision, [&](Group& group) { group.count_path(view, steps_, is_held, is_refused); });
}

// ---- log time

void Tracker::schedule(std::uint32_t slot, Step step, std::int64_t time_ns) {
  due_.push_back({time_ns, slot, open_.generation(slot), step});
  std::push_heap(due_.begin(), due_.end(), is_later);
}

void Tracker::note_answer(std::uint32_t slot) {
  if (open_.at(slot).is_complete()) schedule(slot, Step::answer, open_.at(slot).answer_ns());
}

void Tracker::advance(std::int64_t time_ns, bool is_flush) {
  log_time_ns_ = std::max(log_time_ns_, time_ns);
  const auto has_passed = [&](std::int64_t at) { return is_flush ? at <= time_ns : at < time_ns; };
  passed_.clear();
  while (!due_.empty() && has_passed(due_.front().time_ns)) {
    passed_.push_back(due_.front());
    std::pop_heap(due_.begin(), due_.end(), is_later);
    due_.pop_back();
  }
  std::erase_if(passed_,
                [&](const Due& due) { return open_.generation(due.slot) != due.generation; });
  std::sort(passed_.begin(), passed_.end(), [&](const Due& a, const Due& b) {
    if (a.time_ns != b.time_ns) return a.time_ns < b.time_ns;
    if (a.step != b.step) return a.step < b.step;
    return open_.at(a.slot).id < open_.at(b.slot).id;
  });
  for (const Due& due : passed_) {
    if (open_.generation(due.slot) != due.generation) continue;
    if (due.step == Step::view) {
      view(due.slot);
    } else if (open_.at(due.slot).is_complete() && has_passed(open_.at(due.slot).answer_ns())) {
      answer(due.slot);
    }
  }
  while (open_.oldest() != OpenDecisions::kNone && has_passed(open_.deadline_ns(open_.oldest()))) {
    give_up(open_.oldest());
  }

  const auto waiting =
      std::stable_partition(waiting_regimes_.begin(), waiting_regimes_.end(),
                            [&](const RegimeObservation& one) { return has_passed(one.time_ns); });
  const auto key = [&](const RegimeObservation& one) {
    return std::tie(one.time_ns, symbols_.name(one.symbol), regime_names_.name(one.regime));
  };
  std::stable_sort(
      waiting_regimes_.begin(), waiting,
      [&](const RegimeObservation& a, const RegimeObservation& b) { return key(a) < key(b); });
  for (auto at = waiting_regimes_.begin(); at != waiting; ++at) regimes_.add(*at);
  waiting_regimes_.erase(waiting_regimes_.begin(), waiting);
}

void Tracker::sort_members(std::uint32_t slot) {
  std::vector<Member>& members = open_.at(slot).members;
  const auto is_before = [&](const Member& a, const Member& b) {
    return models_.name(a.model) < models_.name(b.model);
  };
  if (std::is_sorted(members.begin(), members.end(), is_before)) return;
  std::stable_sort(members.begin(), members.end(), is_before);
  for (std::size_t k = 0; k < members.size(); ++k) {
    if (members[k].prediction_key != 0) open_.set_prediction(slot, k, members[k].prediction_key);
  }
}

void Tracker::view(std::uint32_t slot) {
  sort_members(slot);
  Decision& decision = open_.at(slot);
  if (decision.is_viewed) return;
  decision.is_viewed = true;
  for_groups(decision, [&](Group& group) { group.view(decision); });
}

void Tracker::answer(std::uint32_t slot) {
  view(slot);
  Decision& decision = open_.at(slot);
  for_groups(decision, [&](Group& group) {
    const MixWatch::Verdict verdict = group.answer(decision, !decision.is_late);
    check_bound(group, decision.answer_ns());
    if (group.ensemble() != kNoName) judge_mix(group, verdict, decision.answer_ns());
  });
  close(slot, Stage::answered);
}

// What is known has to do.
void Tracker::give_up(std::uint32_t slot) {
  const Decision& decision = open_.at(slot);
  if (decision.is_decided && decision.has_any_outcome()) {
    answer(slot);
    return;
  }
  if (decision.is_decided) {
    view(slot);
    for_groups(decision, [](Group& group) { group.count_unanswered(); });
    close(slot, Stage::unanswered);
    return;
  }
  for (const Member& member : decision.members) {
    if (member.has_said()) ++counts_.predictions_without_decision;
    if (member.has_outcome()) ++counts_.outcomes_without_decision;
  }
  if (decision.actual != kNoName) ++counts_.outcomes_without_decision;
  open_.release(slot);
}

void Tracker::close(std::uint32_t slot, Stage stage) {
  Decision& open = open_.at(slot);
  const std::uint64_t key = open.key;
  Decision record = open;
  record.stage = stage;
  open_.release(slot);
  closed_.insert(key, std::move(record));
  closed_.mark_changed(key);
}

// The theory promises this for any data: if it fails, the figures are wrong, not the ensemble.
void Tracker::check_bound(const Group& group, std::int64_t time_ns) {
  if (!group.learner().is_enabled() || group.learner().own().rounds() == 0) return;
  const double excess = group.learner().worst_excess();
  if (!(excess > kRegretTolerance)) return;
  Finding finding;
  finding.kind = "regret_bound";
  finding.target = group.ensemble() == kNoName ? "(all)" : ensembles_.name(group.ensemble());
  finding.target_kind = "ensemble";
  finding.severity = "critical";
  finding.onset_ns = time_ns;
  finding.detected_ns = time_ns;
  finding.summary = "the regret of the learned weights is " + short_number(excess) +
                    " above its bound after " + std::to_string(group.learner().own().rounds()) +
                    " outcomes: the loss or its input is not what it should be";
  finding.evidence = {{"excess", excess},
                      {"rounds", group.learner().own().rounds()},
                      {"learning_rate", settings_.learning_rate},
                      {"fixed_share", settings_.fixed_share}};
  findings_.open(std::move(finding));
}

void Tracker::judge_mix(const Group& group, MixWatch::Verdict verdict, std::int64_t time_ns) {
  if (verdict == MixWatch::Verdict::nothing) return;
  const MixWatch& watch = group.mix_watch();
  const std::string target = ensembles_.name(group.ensemble());
  if (verdict == MixWatch::Verdict::over) {
    findings_.close("ensemble_degradation", target, time_ns,
                    "the excess loss was below half the limit in two windows");
    return;
  }
  const auto by_model = [&](const std::vector<double>& weights) {
    Json out = Json::object();
    for (std::size_t slot = 0; slot < weights.size(); ++slot) {
      out[models_.name(group.roster()[slot])] = number_or_null(weights[slot]);
    }
    return out;
  };
  const std::vector<double>& sent = group.sent().latest().weights;
  const auto heaviest = std::max_element(sent.begin(), sent.end(), [](double a, double b) {
    return (std::isfinite(a) ? a : 0.0) < (std::isfinite(b) ? b : 0.0);
  });
  Finding finding;
  finding.kind = "ensemble_degradation";
  finding.target = target;
  finding.target_kind = "ensemble";
  finding.severity = "warning";
  finding.onset_ns = watch.onset_ns();
  finding.detected_ns = time_ns;
  finding.summary = "the weights of ensemble " + target + " lose " +
                    short_number(watch.latest().mean) +
                    " more per decision (half the Brier score) "
                    "than weights learned from the same outcomes, in the last " +
                    std::to_string(watch.window()) + " answered decisions, " +
                    short_number(watch.previous().mean) + " in as many before";
  if (heaviest != sent.end() && std::isfinite(*heaviest)) {
    finding.summary +=
        "; most weight, " + short_number(*heaviest) + ", is on " +
        models_.name(group.roster()[static_cast<std::size_t>(heaviest - sent.begin())]);
  }
  finding.evidence = {{"detector", "mean excess loss in two windows, Newey-West, 10 lags"},
                      {"window_decisions", watch.window()},
                      {"excess_loss", watch.latest().mean},
                      {"standard_errors", watch.latest().standard_errors},
                      {"excess_loss_before", watch.previous().mean},
                      {"standard_errors_before", watch.previous().standard_errors},
                      {"limit", watch.limit()},
                      {"standard_errors_limit", 2.0},
                      {"weights_sent", by_model(sent)},
                      {"weights_learned", by_model(group.learner().weights())}};
  findings_.open(std::move(finding));
}

std::optional<Decision> Tracker::find(std::string_view decision_id) {
  const std::uint64_t key = key_of(decision_id);
  if (const std::uint32_t slot = open_.find_id(key); slot != OpenDecisions::kNone) {
    return open_.at(slot);
  }
  if (const Decision* found = closed_.find(key)) return *found;
  return find_row_(decision_id);
}

// ---- state

void Tracker::write(StateWriter& out) const {
  const TrackerCounts& c = counts_;
  for (const std::uint64_t count : {c.decisions,
                                    c.repeated_decisions,
                                    c.predictions,
                                    c.repeated_predictions,
                                    c.predictions_unlinked,
                                    c.predictions_after_close,
                                    c.predictions_without_decision,
                                    c.outcomes,
                                    c.repeated_outcomes,
                                    c.corrected_outcomes,
                                    c.outcomes_not_classes,
                                    c.outcomes_ambiguous,
                                    c.outcomes_without_decision,
                                    c.late_answers,
                                    c.paths,
                                    c.repeated_paths,
                                    c.regimes,
                                    c.late_regimes,
                                    c.transitions_told,
                                    c.closed_early,
                                    c.beyond_members}) {
    out.varint(count);
  }
  out.i64(log_time_ns_);
  labels_.write(out);
  for (const Names* names : {&models_, &ensembles_, &symbols_, &regime_names_, &steps_}) {
    names->write(out);
  }
  open_.write(out);
  out.varint(waiting_regimes_.size());
  for (const RegimeObservation& one : waiting_regimes_) {
    out.i64(one.time_ns).varint(one.symbol).varint(one.regime).f64(one.confidence);
    out.f64(one.told_duration).u64(one.sequence);
  }
  regimes_.write(out);
  out.varint(groups_.size());
  for (const auto& group : groups_) group->write(out);
  out.boolean(overall_ != nullptr);
  if (overall_ != nullptr) overall_->write(out);
  findings_.save(out);
}

void Tracker::read(StateReader& in) {
  TrackerCounts& c = counts_;
  for (std::uint64_t* count : {&c.decisions,
                               &c.repeated_decisions,
                               &c.predictions,
                               &c.repeated_predictions,
                               &c.predictions_unlinked,
                               &c.predictions_after_close,
                               &c.predictions_without_decision,
                               &c.outcomes,
                               &c.repeated_outcomes,
                               &c.corrected_outcomes,
                               &c.outcomes_not_classes,
                               &c.outcomes_ambiguous,
                               &c.outcomes_without_decision,
                               &c.late_answers,
                               &c.paths,
                               &c.repeated_paths,
                               &c.regimes,
                               &c.late_regimes,
                               &c.transitions_told,
                               &c.closed_early,
                               &c.beyond_members}) {
    *count = in.varint();
  }
  log_time_ns_ = in.i64();
  labels_.read(in);
  for (Names* names : {&models_, &ensembles_, &symbols_, &regime_names_, &steps_}) {
    names->read(in);
  }
  open_.read(in);
  for (std::uint32_t slot = open_.oldest(); slot != OpenDecisions::kNone; slot = open_.next(slot)) {
    const Decision& decision = open_.at(slot);
    if (decision.is_decided && !decision.is_viewed) schedule(slot, Step::view, decision.time_ns);
    note_answer(slot);
  }
  waiting_regimes_.resize(in.count(27));
  for (RegimeObservation& one : waiting_regimes_) {
    one.time_ns = in.i64();
    one.symbol = static_cast<NameId>(in.varint());
    one.regime = static_cast<NameId>(in.varint());
    one.confidence = in.f64();
    one.told_duration = in.f64();
    one.sequence = in.u64();
  }
  regimes_.read(in);
  for (std::size_t left = in.count(50); left > 0; --left) {
    groups_.push_back(std::make_unique<Group>(kNoName, settings_, labels_));
    groups_.back()->read(in);
    const std::size_t at = groups_.back()->ensemble();
    if (group_by_ensemble_.size() <= at) group_by_ensemble_.resize(at + 1, 0);
    group_by_ensemble_[at] = static_cast<std::uint32_t>(groups_.size());
  }
  if (in.boolean()) {
    overall_ = std::make_unique<Group>(kNoName, settings_, labels_);
    overall_->read(in);
  }
  findings_.load(in);
}

}  // namespace ephor::ensemble_tracker
