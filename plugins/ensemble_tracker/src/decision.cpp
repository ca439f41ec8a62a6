// SPDX-License-Identifier: Apache-2.0
#include "decision.hpp"

#include <algorithm>

namespace ephor::ensemble_tracker {

NameId Decision::common_actual() const {
  if (actual != kNoName) return actual;
  NameId common = kNoName;
  for (const Member& member : members) {
    if (!member.has_outcome()) continue;
    if (common != kNoName && common != member.actual) return kNoName;
    common = member.actual;
  }
  return common;
}

bool Decision::has_any_outcome() const {
  return actual != kNoName || std::any_of(members.begin(), members.end(),
                                          [](const Member& m) { return m.has_outcome(); });
}

bool Decision::is_complete() const {
  if (!is_decided) return false;
  if (actual != kNoName) return true;
  return !members.empty() && std::all_of(members.begin(), members.end(),
                                         [](const Member& m) { return m.has_outcome(); });
}

std::int64_t Decision::answer_ns() const {
  std::int64_t at = time_ns;
  if (actual != kNoName) return std::max(at, actual_ns);
  for (const Member& member : members) {
    if (member.has_outcome()) at = std::max(at, member.outcome_ns);
  }
  return at;
}

void Decision::clear() {
  std::vector<Member> kept_members = std::move(members);
  std::vector<ClassProbability> kept_classes = std::move(classes);
  *this = Decision();
  kept_members.clear();
  kept_classes.clear();
  members = std::move(kept_members);
  classes = std::move(kept_classes);
}

void write(StateWriter& out, const Decision& decision) {
  out.text(decision.id).text(decision.correlation_id);
  out.u64(decision.key).u64(decision.correlation).u64(decision.sequence).i64(decision.time_ns);
  for (const NameId name :
       {decision.ensemble, decision.symbol, decision.regime, decision.final_label,
        decision.primary_label, decision.meta_label, decision.actual, decision.stopped_by}) {
    out.varint(name);
  }
  for (const double value :
       {decision.final_score, decision.primary_confidence, decision.meta_confidence,
        decision.meta_score, decision.consensus_level, decision.disagreement_score,
        decision.realized_return}) {
    out.f64(value);
  }
  out.i64(decision.actual_ns);
  out.varint(decision.members.size());
  for (const Member& member : decision.members) {
    out.varint(member.model).varint(member.label).varint(member.actual);
    out.varint(member.class_begin).varint(member.class_count);
    out.f64(member.score).f64(member.confidence).f64(member.weight);
    out.i64(member.outcome_ns).u64(member.prediction_key).boolean(member.is_predicted);
  }
  out.varint(decision.classes.size());
  for (const ClassProbability& one : decision.classes) out.varint(one.label).f64(one.probability);
  out.text(decision.path_json);
  out.boolean(decision.is_decided).boolean(decision.is_regime_own).boolean(decision.is_late);
  out.boolean(decision.is_viewed);
}

void read(StateReader& in, Decision& decision) {
  const auto name = [&] {
    const std::uint64_t id = in.varint();
    if (id > kNoName) throw Error(EPHOR_INVALID, "state: a name beyond the table");
    return static_cast<NameId>(id);
  };
  decision.id = in.text();
  decision.correlation_id = in.text();
  decision.key = in.u64();
  decision.correlation = in.u64();
  decision.sequence = in.u64();
  decision.time_ns = in.i64();
  for (NameId* field :
       {&decision.ensemble, &decision.symbol, &decision.regime, &decision.final_label,
        &decision.primary_label, &decision.meta_label, &decision.actual, &decision.stopped_by}) {
    *field = name();
  }
  for (double* field : {&decision.final_score, &decision.primary_confidence,
                        &decision.meta_confidence, &decision.meta_score, &decision.consensus_level,
                        &decision.disagreement_score, &decision.realized_return}) {
    *field = in.f64();
  }
  decision.actual_ns = in.i64();
  decision.members.resize(in.count(46));
  for (Member& member : decision.members) {
    member.model = name();
    member.label = name();
    member.actual = name();
    member.class_begin = name();
    member.class_count = name();
    member.score = in.f64();
    member.confidence = in.f64();
    member.weight = in.f64();
    member.outcome_ns = in.i64();
    member.prediction_key = in.u64();
    member.is_predicted = in.boolean();
  }
  decision.classes.resize(in.count(9));
  for (ClassProbability& one : decision.classes) {
    one.label = name();
    one.probability = in.f64();
  }
  for (const Member& member : decision.members) {
    if (std::size_t{member.class_begin} + member.class_count > decision.classes.size()) {
      throw Error(EPHOR_INVALID, "state: classes beyond the decision's");
    }
  }
  decision.path_json = in.text();
  decision.is_decided = in.boolean();
  decision.is_regime_own = in.boolean();
  decision.is_late = in.boolean();
  decision.is_viewed = in.boolean();
}

}  // namespace ephor::ensemble_tracker
