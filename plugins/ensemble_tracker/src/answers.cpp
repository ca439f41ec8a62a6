// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ephor/times.hpp>

namespace ephor::ensemble_tracker {
namespace {

constexpr const char* kTrackNames[kFixedTracks] = {
    "final_decision", "primary_prediction", "meta_learner", "meta_learner_score",
    "majority_vote",  "weighted_vote",      "learned_vote"};

Json name_or_null(const Names& names, NameId id) {
  return id == kNoName ? Json() : Json(names.name(id));
}
Json label_or_null(const Tracker& tracker, NameId id) {
  return id == kNoName ? Json() : Json(tracker.labels().name(id));
}
Json time_or_null(std::int64_t ns) { return ns == INT64_MIN ? Json() : Json(format_time(ns)); }
Json ratio(double part, std::uint64_t whole) {
  return whole == 0 ? Json() : number_or_null(part / static_cast<double>(whole));
}
Json ratio(std::uint64_t part, std::uint64_t whole) {
  return ratio(static_cast<double>(part), whole);
}

Json score_json(const Score& score) {
  const Interval interval = wilson(score.correct, score.known);
  Json out{{"n", score.known},
           {"correct", score.correct},
           {"accuracy", ratio(score.correct, score.known)},
           {"interval", score.known == 0 ? Json() : Json{interval.low, interval.high}},
           {"acted",
            {{"n", score.acted},
             {"correct", score.acted_correct},
             {"accuracy", ratio(score.acted_correct, score.acted)}}}};
  if (score.briers > 0) {
    out["brier_n"] = score.briers;
    out["brier"] = ratio(score.brier_sum, score.briers);
  }
  return out;
}

Json accuracy_json(const Score& score) {
  const Interval interval = wilson(score.correct, score.known);
  return {{"n", score.known},
          {"correct", score.correct},
          {"accuracy", ratio(score.correct, score.known)},
          {"interval", score.known == 0 ? Json() : Json{interval.low, interval.high}}};
}

const Score& track_of(const Cell& cell, std::size_t track) {
  static const Score kNothing;
  return track < cell.tracks.size() ? cell.tracks[track] : kNothing;
}

Json votes_json(const Cell& cell, bool is_learning) {
  Json out = Json::object();
  for (std::size_t track = 0; track < kFixedTracks; ++track) {
    out[kTrackNames[track]] =
        track == kLearned && !is_learning ? Json() : score_json(track_of(cell, track));
  }
  return out;
}

Json by_final_json(const Tracker& tracker, const Cell& cell) {
  Json out = Json::object();
  for (const auto& [label, count] : cell.decisions) {
    out[label == kNoName ? "(none)" : tracker.labels().name(label)] = count;
  }
  return out;
}

std::string regime_name(const Tracker& tracker, NameId regime) {
  return regime == kNoName ? "(none)" : tracker.regime_names().name(regime);
}

Json by_slot_json(const Tracker& tracker, const Group& group, const std::vector<double>& weights) {
  if (weights.empty()) return nullptr;
  Json out = Json::object();
  for (std::size_t slot = 0; slot < weights.size(); ++slot) {
    out[tracker.models().name(group.roster()[slot])] = number_or_null(weights[slot]);
  }
  return out;
}

Json override_json(const OverrideCounts& counts) {
  return {{"both", counts.both},
          {"overrides", counts.overrides},
          {"override_rate", ratio(counts.overrides, counts.both)},
          {"overrides_with_outcome", counts.known},
          {"hit_rate_when_overriding", ratio(counts.right, counts.known)},
          {"vote_hit_rate_then", ratio(counts.vote_right, counts.known)}};
}

Json agreement_json(const AgreementSums& sums) {
  return {
      {"consensus_level_told", ratio(sums.consensus_sum, sums.consensus_told)},
      {"consensus_level_told_n", sums.consensus_told},
      {"disagreement_score_told", ratio(sums.disagreement_sum, sums.disagreement_told)},
      {"disagreement_score_told_n", sums.disagreement_told},
      {"n", sums.computed},
      {"majority_share", ratio(sums.share_sum, sums.computed)},
      {"pairwise_agreement", ratio(sums.pairwise_sum, sums.pairs)},
      {"disagreement",
       sums.pairs == 0 ? Json() : Json(1.0 - sums.pairwise_sum / static_cast<double>(sums.pairs))},
      {"vote_entropy", ratio(sums.entropy_sum, sums.computed)},
      {"ties", sums.ties}};
}

Json ledger_json(const Tracker& tracker, const Group& group,
                 const aggregation::RegretLedger& ledger, bool has_bound) {
  if (ledger.rounds() == 0) return nullptr;
  const std::size_t best = ledger.best_expert();
  Json experts = Json::object();
  for (std::size_t k = 0; k < ledger.experts().size(); ++k) {
    const auto& expert = ledger.experts()[k];
    if (expert.rounds == 0) continue;
    Json one{{"rounds", expert.rounds},
             {"mean_loss", ratio(expert.loss, expert.rounds)},
             {"regret", number_or_null(expert.regret())}};
    if (has_bound) {
      one["bound"] = number_or_null(ledger.bound(group.learner().settings(), k));
    }
    experts[tracker.models().name(group.roster()[k])] = std::move(one);
  }
  return {{"rounds", ledger.rounds()},
          {"mean_loss", ratio(ledger.own_loss(), ledger.rounds())},
          {"best_expert", tracker.models().name(group.roster()[best])},
          {"regret", number_or_null(ledger.experts()[best].regret())},
          {"bound",
           has_bound ? number_or_null(ledger.bound(group.learner().settings(), best)) : Json()},
          {"experts", std::move(experts)}};
}

Json regret_json(const Tracker& tracker, const Group& group) {
  const Learner& learner = group.learner();
  const MixWatch& watch = group.mix_watch();
  Json out{{"loss",
            "half the Brier score over classes where every model that takes part told "
            "probabilities, else 0 or 1"},
           {"rounds_with_probabilities", learner.brier_rounds()},
           {"sent", ledger_json(tracker, group, learner.sent(), false)},
           {"learned",
            learner.is_enabled() ? ledger_json(tracker, group, learner.own(), true) : Json()}};
  if (!learner.is_enabled()) out["learned_reason"] = "enable_online_learning is false";
  out["excess_of_sent"] = {{"window_decisions", watch.window()},
                           {"mean", watch.latest().mean},
                           {"standard_errors", watch.latest().standard_errors},
                           {"limit", watch.limit()}};
  return out;
}

Json weights_json(const Tracker& tracker, const Group& group) {
  const Learner& learner = group.learner();
  const WeightHistory::Point& sent = group.sent().latest();
  Json out{{"sent", group.sent().seen() == 0 ? Json() : by_slot_json(tracker, group, sent.weights)},
           {"sent_time", group.sent().seen() == 0 ? Json() : Json(format_time(sent.time_ns))},
           {"learned", learner.is_enabled() && learner.own().rounds() > 0
                           ? by_slot_json(tracker, group, learner.weights())
                           : Json()},
           {"rule",
            {{"name", "exponential weights with fixed share"},
             {"learning_rate", learner.settings().learning_rate},
             {"fixed_share", learner.settings().share}}}};
  if (!learner.is_enabled()) out["learned_reason"] = "enable_online_learning is false";
  return out;
}

Json paths_json(const Tracker& tracker, const PathCounts& paths) {
  Json steps = Json::object();
  for (const auto& [name, step] : paths.steps) {
    steps[tracker.steps().name(name)] = {{"seen", step.seen},
                                         {"gated", step.gated},
                                         {"failed", step.failed},
                                         {"stopped", step.stopped},
                                         {"mean_margin", ratio(step.margin_sum, step.gated)}};
  }
  return {{"paths", paths.paths},
          {"held", paths.held},
          {"refused", paths.refused},
          {"unexplained", paths.unexplained},
          {"steps", std::move(steps)}};
}

// All regimes of a range together.
RegimeCells cells_of(const Group& group, const Range& range) {
  if (range.is_all()) return group.totals();
  RegimeCells out;
  for (const auto& [hour, figures] : group.hours()) {
    if (!range.has_hour(hour)) continue;
    for (const auto& [regime, cell] : figures.cells) out[regime].add(cell);
  }
  return out;
}

Json members_json(const Tracker& tracker, const Group& group, const Cell& all, bool is_all) {
  Json out = Json::array();
  const std::vector<double> learned =
      group.learner().is_enabled() ? group.learner().weights() : std::vector<double>();
  for (std::size_t slot = 0; slot < group.roster().size(); ++slot) {
    Json one = score_json(track_of(all, kFixedTracks + slot));
    one["model_id"] = tracker.models().name(group.roster()[slot]);
    if (is_all) {
      const auto& sent = group.sent().latest().weights;
      one["weight_sent"] = slot < sent.size() ? number_or_null(sent[slot]) : Json();
      one["weight_learned"] = slot < learned.size() && group.learner().own().rounds() > 0
                                  ? number_or_null(learned[slot])
                                  : Json();
      one["window"] = accuracy_json(group.window().score(kFixedTracks + slot));
      const LeaveOneOut& loo = group.leave_one_out()[slot];
      one["contribution"] = {
          {"n", loo.known},
          {"vote_accuracy", ratio(loo.with_right, loo.known)},
          {"vote_accuracy_without", ratio(loo.without_right, loo.known)},
          {"gain", loo.known == 0 ? Json()
                                  : Json((static_cast<double>(loo.with_right) -
                                          static_cast<double>(loo.without_right)) /
                                         static_cast<double>(loo.known))},
          {"flips", loo.flips}};
    }
    out.push_back(std::move(one));
  }
  return out;
}

Json by_regime_json(const Tracker& tracker, const Group& group, const RegimeCells& cells) {
  if (!tracker.settings().enable_regime_tracking) return nullptr;
  Json out = Json::object();
  for (const auto& [regime, cell] : cells) {
    Json members = Json::object();
    for (std::size_t slot = 0; slot < group.roster().size(); ++slot) {
      members[tracker.models().name(group.roster()[slot])] =
          score_json(track_of(cell, kFixedTracks + slot));
    }
    out[regime_name(tracker, regime)] = {
        {"decisions", cell.decision_count()},
        {"by_final_decision", by_final_json(tracker, cell)},
        {"accuracy", votes_json(cell, group.learner().is_enabled())},
        {"members", std::move(members)}};
  }
  return out;
}

Json group_json(const Tracker& tracker, const Group& group, const Range& range) {
  const RegimeCells cells = cells_of(group, range);
  Cell all;
  for (const auto& [regime, cell] : cells) all.add(cell);
  const bool is_all = range.is_all();
  Json out{{"ensemble_id", name_or_null(tracker.ensembles(), group.ensemble())},
           {"decisions", all.decision_count()},
           {"by_final_decision", by_final_json(tracker, all)},
           {"accuracy", votes_json(all, group.learner().is_enabled())},
           {"members", members_json(tracker, group, all, is_all)},
           {"by_regime", by_regime_json(tracker, group, cells)}};
  if (!tracker.settings().enable_regime_tracking) {
    out["by_regime_reason"] = "enable_regime_tracking is false";
  }
  if (!is_all) return out;
  out["answered"] = group.answered();
  out["unanswered"] = group.unanswered();
  out["last_decision"] = time_or_null(group.last_decision_ns());
  Json window{{"decisions", group.window().size()}};
  for (std::size_t track = 0; track < kFixedTracks; ++track) {
    window[kTrackNames[track]] = accuracy_json(group.window().score(track));
  }
  out["window"] = std::move(window);
  out["agreement"] = agreement_json(group.agreement());
  out["meta_learner_against_vote"] = override_json(group.meta_overrides());
  out["final_decision_against_vote"] = override_json(group.final_overrides());
  out["weights"] = weights_json(tracker, group);
  out["regret"] = regret_json(tracker, group);
  out["paths"] = tracker.settings().enable_decision_path_tracking
                     ? paths_json(tracker, group.paths())
                     : Json();
  out["members_beyond_limit"] = group.beyond_members();
  out["decisions_beyond_hours"] = group.beyond_hours();
  out["answered_out_of_order"] = group.out_of_order();
  return out;
}

Json over_json(const Tracker& tracker, const Range& range) {
  Json out{{"from", nullptr},
           {"to", nullptr},
           {"decisions", tracker.counts().decisions},
           {"log_time", time_or_null(tracker.log_time_ns())}};
  const auto floor_hour = [](std::int64_t ns) {
    std::int64_t hour = ns / kHourNs;
    if (ns < 0 && ns % kHourNs != 0) --hour;
    return hour;
  };
  if (range.from_ns) out["from"] = format_time(floor_hour(*range.from_ns) * kHourNs);
  if (range.to_ns) out["to"] = format_time((floor_hour(*range.to_ns - 1) + 1) * kHourNs);
  if (!range.is_all()) out["bucket_s"] = 3600;
  return out;
}

Json pairs_json(const Tracker& tracker, const Group& group) {
  Json out = Json::array();
  for (std::size_t b = 1; b < group.roster().size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      const PairCounts& pair = group.pair(a, b);
      const auto n11 = static_cast<double>(pair.both_right);
      const auto n10 = static_cast<double>(pair.first_right);
      const auto n01 = static_cast<double>(pair.second_right);
      const auto n00 = static_cast<double>(pair.both_wrong);
      const std::uint64_t known =
          pair.both_right + pair.first_right + pair.second_right + pair.both_wrong;
      const double cross = n11 * n00 - n01 * n10;
      const double q_scale = n11 * n00 + n01 * n10;
      const double phi_scale = std::sqrt((n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00));
      out.push_back(
          {{"models",
            {tracker.models().name(group.roster()[a]), tracker.models().name(group.roster()[b])}},
           {"voted", pair.voted},
           {"agreement", ratio(pair.agreed, pair.voted)},
           {"n", known},
           {"both_right", pair.both_right},
           {"first_right", pair.first_right},
           {"second_right", pair.second_right},
           {"both_wrong", pair.both_wrong},
           {"disagreement", ratio(pair.first_right + pair.second_right, known)},
           {"double_fault", ratio(pair.both_wrong, known)},
           {"q_statistic", q_scale > 0 ? Json(cross / q_scale) : Json()},
           {"error_correlation", phi_scale > 0 ? Json(cross / phi_scale) : Json()}});
    }
  }
  return out;
}

Json history_json(const Tracker& tracker, const Group& group, const WeightHistory& history,
                  const Range& range) {
  Json out = Json::array();
  for (const WeightHistory::Point& point : history.points()) {
    if (!range.has(point.time_ns)) continue;
    out.push_back({{"time", format_time(point.time_ns)},
                   {"weights", by_slot_json(tracker, group, point.weights)}});
  }
  return out;
}

Json hours_json(const Tracker& tracker, const Group& group, const Range& range) {
  Json out = Json::array();
  for (const auto& [hour, figures] : group.hours()) {
    if (!range.is_all() && !range.has_hour(hour)) continue;
    Cell all;
    for (const auto& [regime, cell] : figures.cells) all.add(cell);
    out.push_back({{"hour", format_time(hour * kHourNs)},
                   {"decisions", all.decision_count()},
                   {"final_decision", accuracy_json(track_of(all, kFinal))},
                   {"weighted_vote", accuracy_json(track_of(all, kWeighted))},
                   {"weights_sent", by_slot_json(tracker, group, figures.sent)},
                   {"weights_learned", by_slot_json(tracker, group, figures.learned)}});
  }
  return out;
}

const Group* find_group(const Tracker& tracker, std::string_view ensemble_id) {
  if (ensemble_id == "(all)") return tracker.overall();
  for (const auto& group : tracker.groups()) {
    if (group->ensemble() != kNoName && tracker.ensembles().name(group->ensemble()) == ensemble_id)
      return group.get();
  }
  return nullptr;
}

Json gate_json(const Gate& gate) {
  return {{"step", std::string(gate.step)},
          {"weight", number_or_null(gate.weight)},
          {"threshold_name",
           gate.threshold_name.empty() ? Json() : Json(std::string(gate.threshold_name))},
          {"threshold", number_or_null(gate.threshold)},
          {"margin", number_or_null(gate.margin)},
          {"passed", std::isfinite(gate.margin) ? Json(gate.margin >= 0) : Json()}};
}

Json path_detail(const Tracker& tracker, const Decision& decision) {
  if (!tracker.settings().enable_decision_path_tracking || decision.path_json.empty()) {
    return nullptr;
  }
  Json raw;
  Path path;
  PathView view;
  read_path(decision.path_json, raw, path);
  tracker.path_rules().view(path, view);
  Json gates = Json::array();
  for (const Gate& gate : view.gates) gates.push_back(gate_json(gate));
  const auto step = [&](std::size_t at) {
    return at < view.gates.size() ? gate_json(view.gates[at]) : Json();
  };
  Json out{{"gates", std::move(gates)},
           {"closest_gate", step(view.closest)},
           {"first_failed", step(view.first_failed)},
           {"stopped_by", name_or_null(tracker.steps(), decision.stopped_by)}};
  out["raw"] = std::move(raw);
  return out;
}

Json vote_json(const Tracker& tracker, const WeightedVote& vote) {
  if (vote.label == kNoName) return nullptr;
  return {{"label", tracker.labels().name(vote.label)},
          {"score", vote.score},
          {"margin", vote.margin},
          {"of", vote.is_soft ? "probabilities" : "votes"}};
}

double share_of(const Decision& decision, const Member& member, const WeightedVote& vote) {
  if (!vote.is_soft) return member.label == vote.label ? 1.0 : 0.0;
  double out = 0.0;
  for (std::size_t i = 0; i < member.class_count; ++i) {
    const ClassProbability& one = decision.classes[member.class_begin + i];
    if (one.label == vote.label) out += one.probability;
  }
  return out;
}

}  // namespace

bool Range::has_hour(std::int64_t hour) const {
  if (from_ns && hour * kHourNs + kHourNs <= *from_ns) return false;
  return !to_ns || hour * kHourNs < *to_ns;
}

Range range_of(const Json& request) {
  const auto time = [&](const char* name) -> std::optional<std::int64_t> {
    const auto found = request.find(name);
    if (found == request.end() || found->is_null()) return std::nullopt;
    if (found->is_number_integer()) return found->get<std::int64_t>();
    if (found->is_string()) {
      const auto& text = found->get_ref<const std::string&>();
      std::int64_t ns = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ns);
      if (error == std::errc() && end == text.data() + text.size()) return ns;
      if (const auto parsed = parse_time(text)) return parsed;
    }
    throw Error(EPHOR_INVALID,
                std::string(name) + ": found " + found->dump() +
                    ", expected a time as RFC 3339 or nanoseconds",
                std::string("/") + name);
  };
  Range out{time("from"), time("to")};
  if (out.from_ns && out.to_ns && *out.from_ns >= *out.to_ns) {
    throw Error(EPHOR_INVALID, "from: expected a time before to", "/from");
  }
  return out;
}

Json ensembles_json(const Tracker& tracker, const Range& range, std::size_t limit,
                    std::size_t offset) {
  std::vector<const Group*> groups;
  for (const auto& group : tracker.groups()) groups.push_back(group.get());
  std::sort(groups.begin(), groups.end(), [&](const Group* a, const Group* b) {
    return tracker.ensembles().name(a->ensemble()) < tracker.ensembles().name(b->ensemble());
  });
  Json list = Json::array();
  for (std::size_t i = offset; i < groups.size() && i < offset + limit; ++i) {
    list.push_back(group_json(tracker, *groups[i], range));
  }
  Json out{{"over", over_json(tracker, range)},
           {"total", groups.size()},
           {"ensembles", std::move(list)},
           {"overall", nullptr}};
  if (const Group* all = tracker.overall()) {
    out["overall"] = group_json(tracker, *all, range);
    out["overall"]["ensemble_id"] = "(all)";
    out["over"]["waiting_for_log_time"] = tracker.counts().decisions - all->viewed();
  }
  if (!tracker.settings().enable_ensemble_tracking) {
    out["reason"] = "enable_ensemble_tracking is false";
  }
  out["findings"] = tracker.findings().list();
  return out;
}

Json ensemble_json(const Tracker& tracker, std::string_view ensemble_id, const Range& range) {
  const Group* group = find_group(tracker, ensemble_id);
  if (group == nullptr) return nullptr;
  Json out = group_json(tracker, *group, range);
  out["ensemble_id"] = std::string(ensemble_id);
  out["over"] = over_json(tracker, range);
  out["pairs"] = pairs_json(tracker, *group);
  out["weight_history"] = {
      {"sent", history_json(tracker, *group, group->sent(), range)},
      {"sent_seen", group->sent().seen()},
      {"learned", group->learner().is_enabled()
                      ? history_json(tracker, *group, group->learner().history(), range)
                      : Json()},
      {"learned_seen", group->learner().history().seen()}};
  out["hours"] = hours_json(tracker, *group, range);
  return out;
}

Json regimes_json(const Tracker& tracker, const Range& range, std::size_t limit, std::size_t offset,
                  const std::string& symbol) {
  if (!tracker.settings().enable_regime_tracking) {
    return {{"over", over_json(tracker, range)},
            {"symbols", nullptr},
            {"history", nullptr},
            {"reason", "enable_regime_tracking is false"}};
  }
  const RegimeTracker& regimes = tracker.regimes();
  const auto seconds = [](std::int64_t ns) { return static_cast<double>(ns) / 1e9; };
  Json symbols = Json::object();
  for (const auto& [id, one] : regimes.symbols()) {
    const std::string name = id == kNoName ? "(none)" : tracker.symbols().name(id);
    if (!symbol.empty() && name != symbol) continue;
    Json matrix = Json::object();
    for (const auto& [pair, count] : one.matrix) {
      matrix[regime_name(tracker, pair.first)][regime_name(tracker, pair.second)] = count;
    }
    Json dwells = Json::object();
    for (const auto& [regime, dwell] : one.dwells) {
      dwells[regime_name(tracker, regime)] = {
          {"runs", dwell.runs},
          {"mean_s", ratio(seconds(dwell.total_ns), dwell.runs)},
          {"shortest_s", seconds(dwell.shortest_ns)},
          {"longest_s", seconds(dwell.longest_ns)}};
    }
    symbols[name] = {{"regime", regime_name(tracker, one.latest.regime)},
                     {"confidence", number_or_null(one.latest.confidence)},
                     {"since", format_time(one.since_ns)},
                     {"last_seen", format_time(one.latest.time_ns)},
                     {"age_s", seconds(one.latest.time_ns - one.since_ns)},
                     {"observations_in_a_row", one.run_observations},
                     {"regime_duration_told", number_or_null(one.latest.told_duration)},
                     {"observations", one.observations},
                     {"transitions", one.transitions},
                     {"flickers", one.flickers},
                     {"flicker_rate", ratio(one.flickers, one.transitions)},
                     {"matrix", std::move(matrix)},
                     {"dwell", std::move(dwells)}};
  }
  Json history = Json::array();
  std::size_t matched = 0;
  const auto& transitions = regimes.transitions();
  for (auto one = transitions.rbegin(); one != transitions.rend(); ++one) {
    const std::string name =
        one->symbol == kNoName ? "(none)" : tracker.symbols().name(one->symbol);
    if (!range.has(one->time_ns) || (!symbol.empty() && name != symbol)) continue;
    if (matched++ < offset || history.size() >= limit) continue;
    history.push_back({{"time", format_time(one->time_ns)},
                       {"symbol", name},
                       {"from", regime_name(tracker, one->from)},
                       {"to", regime_name(tracker, one->to)},
                       {"confidence", number_or_null(one->confidence)},
                       {"dwell_s", seconds(one->dwell_ns)},
                       {"observations", one->observations},
                       {"flicker", one->is_flicker}});
  }
  Json by_regime = Json::object();
  if (const Group* all = tracker.overall()) {
    for (const auto& [regime, cell] : cells_of(*all, range)) {
      by_regime[regime_name(tracker, regime)] = {
          {"decisions", cell.decision_count()},
          {"by_final_decision", by_final_json(tracker, cell)},
          {"final_decision", accuracy_json(track_of(cell, kFinal))},
          {"weighted_vote", accuracy_json(track_of(cell, kWeighted))}};
    }
  }
  Json over = over_json(tracker, range);
  over["regime_events"] = tracker.counts().regimes;
  return {{"over", std::move(over)},
          {"symbols", std::move(symbols)},
          {"transitions", regimes.transition_count()},
          {"transitions_told", tracker.counts().transitions_told},
          {"history_total", matched},
          {"history", std::move(history)},
          {"by_regime", std::move(by_regime)},
          {"out_of_order", regimes.out_of_order()},
          {"late", tracker.counts().late_regimes}};
}

Json decision_brief(const Tracker& tracker, const Decision& decision) {
  const NameId actual = decision.common_actual();
  return {{"decision_id", decision.id},
          {"ensemble_id", name_or_null(tracker.ensembles(), decision.ensemble)},
          {"time", format_time(decision.time_ns)},
          {"symbol", name_or_null(tracker.symbols(), decision.symbol)},
          {"regime", name_or_null(tracker.regime_names(), decision.regime)},
          {"final_decision", label_or_null(tracker, decision.final_label)},
          {"final_score", number_or_null(decision.final_score)},
          {"primary_prediction", label_or_null(tracker, decision.primary_label)},
          {"primary_confidence", number_or_null(decision.primary_confidence)},
          {"meta_learner_prediction", label_or_null(tracker, decision.meta_label)},
          {"meta_learner_confidence", number_or_null(decision.meta_confidence)},
          {"consensus_level", number_or_null(decision.consensus_level)},
          {"disagreement_score", number_or_null(decision.disagreement_score)},
          {"stopped_by", name_or_null(tracker.steps(), decision.stopped_by)},
          {"outcome", label_or_null(tracker, actual)},
          {"correct", actual == kNoName || decision.final_label == kNoName
                          ? Json()
                          : Json(actual == decision.final_label)},
          {"state", decision.stage == Stage::open
                        ? "open"
                        : (decision.stage == Stage::answered ? "answered" : "unanswered")},
          {"correlation_id", text_or_null(decision.correlation_id)}};
}

Json decision_detail(const Tracker& tracker, const Decision& decision) {
  Json out = decision_brief(tracker, decision);
  VoteCounter votes;
  std::vector<double> weights;
  bool is_weighted = false;
  double total = 0.0;
  for (const Member& member : decision.members) {
    weights.push_back(member.weight);
    const bool takes_part = member.weight > 0.0 && member.has_said() &&
                            (member.label != kNoName || member.class_count > 0);
    is_weighted = is_weighted || takes_part;
    if (takes_part) total += member.weight;
  }
  const WeightedVote vote = votes.count(decision, weights);
  const Majority majority = majority_of(decision);
  const Group* group = nullptr;
  for (const auto& one : tracker.groups()) {
    if (one->ensemble() == decision.ensemble) group = one.get();
  }
  Json members = Json::array();
  Json decisive = Json::array();
  for (std::size_t k = 0; k < decision.members.size(); ++k) {
    const Member& member = decision.members[k];
    const NameId actual = decision.actual_of(member);
    Json probability;
    for (std::size_t i = 0; i < member.class_count; ++i) {
      const ClassProbability& one = decision.classes[member.class_begin + i];
      probability[tracker.labels().name(one.label)] = one.probability;
    }
    Json one{
        {"model_id", name_or_null(tracker.models(), member.model)},
        {"prediction", label_or_null(tracker, member.label)},
        {"score", number_or_null(member.score)},
        {"confidence", number_or_null(member.confidence)},
        {"probability", std::move(probability)},
        {"weight", number_or_null(member.weight)},
        {"contribution", nullptr},
        {"vote_without", nullptr},
        {"flips_vote", nullptr},
        {"outcome", label_or_null(tracker, actual)},
        {"outcome_time", member.has_outcome() ? Json(format_time(member.outcome_ns)) : Json()},
        {"correct",
         actual == kNoName || member.label == kNoName ? Json() : Json(actual == member.label)}};
    if (vote.label != kNoName && member.weight > 0.0 &&
        (member.label != kNoName || member.class_count > 0)) {
      one["contribution"] = member.weight / total * share_of(decision, member, vote);
      const WeightedVote without = votes.count(decision, weights, k);
      one["vote_without"] = vote_json(tracker, without);
      one["flips_vote"] = without.label != vote.label;
      if (without.label != vote.label) decisive.push_back(one["model_id"]);
    }
    members.push_back(std::move(one));
  }
  out["members"] = std::move(members);
  out["votes"] = {{"majority", majority.label == kNoName
                                   ? Json()
                                   : Json{{"label", tracker.labels().name(majority.label)},
                                          {"share", majority.share},
                                          {"voters", majority.voters},
                                          {"tie", majority.is_tie}}},
                  {"weighted", is_weighted ? vote_json(tracker, vote) : Json()},
                  {"meta_learner_score", number_or_null(decision.meta_score)},
                  {"decisive_models", std::move(decisive)}};
  out["path"] = path_detail(tracker, decision);
  if (!tracker.settings().enable_decision_path_tracking) {
    out["path_reason"] = "enable_decision_path_tracking is false";
  }
  out["outcome_time"] =
      decision.has_any_outcome() ? Json(format_time(decision.answer_ns())) : Json();
  out["realized_return"] = number_or_null(decision.realized_return);
  out["in_this_regime"] = nullptr;
  if (group != nullptr) {
    const auto cell = group->totals().find(decision.regime);
    if (cell != group->totals().end()) {
      out["in_this_regime"] = {{"decisions", cell->second.decision_count()},
                               {"final_decision", accuracy_json(track_of(cell->second, kFinal))}};
    }
  }
  return out;
}

Json summary_json(const Tracker& tracker, std::uint64_t unreadable) {
  const TrackerCounts& counts = tracker.counts();
  const Group* all = tracker.overall();
  std::size_t open = 0;
  for (std::uint32_t slot = tracker.open().oldest(); slot != OpenDecisions::kNone;
       slot = tracker.open().next(slot)) {
    if (tracker.open().at(slot).is_decided) ++open;
  }
  Json out{{"ensembles", tracker.groups().size()},
           {"ensemble_decisions", counts.decisions},
           {"ensemble_decisions_answered", all == nullptr ? 0 : all->answered()},
           {"ensemble_decisions_unanswered", all == nullptr ? 0 : all->unanswered()},
           {"ensemble_decisions_open", open},
           {"ensemble_waiting_for_decision", tracker.open().size() - open},
           {"ensemble_decisions_in_memory", open + tracker.closed().size()},
           {"ensemble_decisions_repeated", counts.repeated_decisions},
           {"ensemble_predictions", counts.predictions},
           {"ensemble_predictions_repeated", counts.repeated_predictions},
           {"ensemble_predictions_unlinked", counts.predictions_unlinked},
           {"ensemble_predictions_without_decision", counts.predictions_without_decision},
           {"ensemble_predictions_after_close", counts.predictions_after_close},
           {"ensemble_outcomes", counts.outcomes},
           {"ensemble_outcomes_repeated", counts.repeated_outcomes},
           {"ensemble_outcomes_corrected", counts.corrected_outcomes},
           {"ensemble_outcomes_not_classes", counts.outcomes_not_classes},
           {"ensemble_outcomes_ambiguous", counts.outcomes_ambiguous},
           {"ensemble_outcomes_without_decision", counts.outcomes_without_decision},
           {"ensemble_late_answers", counts.late_answers},
           {"ensemble_closed_early", counts.closed_early},
           {"ensemble_unreadable", unreadable},
           {"decision_paths", counts.paths},
           {"regime_events", counts.regimes},
           {"regime_transitions", tracker.regimes().transition_count()},
           {"regime_transitions_told", counts.transitions_told},
           {"ensemble_accuracy", nullptr},
           {"ensemble_vote_accuracy", nullptr},
           {"ensemble_learned_vote_accuracy", nullptr},
           {"ensemble_meta_accuracy", nullptr},
           {"ensemble_majority_share", nullptr},
           {"findings", tracker.findings().list()}};
  if (all == nullptr) return out;
  Cell cell;
  for (const auto& [regime, one] : all->totals()) cell.add(one);
  const auto accuracy = [&](Track track) {
    return ratio(track_of(cell, track).correct, track_of(cell, track).known);
  };
  out["ensemble_accuracy"] = accuracy(kFinal);
  out["ensemble_vote_accuracy"] = accuracy(kWeighted);
  out["ensemble_learned_vote_accuracy"] = accuracy(kLearned);
  out["ensemble_meta_accuracy"] = accuracy(kMeta);
  out["ensemble_majority_share"] = ratio(all->agreement().share_sum, all->agreement().computed);
  return out;
}

}  // namespace ephor::ensemble_tracker
