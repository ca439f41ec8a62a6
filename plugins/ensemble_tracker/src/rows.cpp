// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <cmath>
#include <ephor/json.hpp>
#include <ephor/json_text.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>

namespace ephor::ensemble_tracker {
namespace {

using RowCell = ::ephor::Cell;  // Cell is a cell of figures here

RowCell text_cell(const std::string& text) {
  return text.empty() ? RowCell::null() : RowCell::text(text);
}
RowCell json_cell(const std::string& json) {
  return json.empty() ? RowCell::null() : RowCell::json(json);
}
RowCell real_cell(double value) {
  return std::isfinite(value) ? RowCell::real_value(value) : RowCell::null();
}

void open_member(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  append_json_text(out, name);
  out += ':';
}
void add_text(std::string& out, std::string_view name, std::string_view text) {
  open_member(out, name);
  append_json_text(out, text);
}
void add_number(std::string& out, std::string_view name, double value) {
  if (!std::isfinite(value)) return;
  open_member(out, name);
  append_json_number(out, value);
}

const char* name_of(Stage stage) {
  return stage == Stage::open ? "open" : (stage == Stage::answered ? "answered" : "unanswered");
}

// Takes cells off the front of a row; one that is missing reads as NULL.
class RowReader {
 public:
  explicit RowReader(std::span<const ephor_cell> cells) : cells_(cells) {}
  std::string text() {
    const ephor_cell* found = next();
    if (found == nullptr || found->kind < EPHOR_CELL_TEXT) return {};
    return std::string(to_text(found->bytes));
  }
  double number() {
    const ephor_cell* found = next();
    if (found == nullptr) return kUnknown;
    if (found->kind == EPHOR_CELL_REAL) return found->real;
    if (found->kind == EPHOR_CELL_INTEGER) return static_cast<double>(found->integer);
    return kUnknown;
  }
  std::int64_t integer() {
    const ephor_cell* found = next();
    return found != nullptr && found->kind == EPHOR_CELL_INTEGER ? found->integer : 0;
  }

 private:
  const ephor_cell* next() {
    if (at_ >= cells_.size()) return nullptr;
    const ephor_cell* found = &cells_[at_++];
    return found->kind == EPHOR_CELL_NULL ? nullptr : found;
  }
  std::span<const ephor_cell> cells_;
  std::size_t at_ = 0;
};

std::string label_name(const Tracker& tracker, NameId id) {
  return id == kNoName ? std::string() : tracker.labels().name(id);
}
std::string name_or_empty(const Names& names, NameId id) {
  return id == kNoName ? std::string() : names.name(id);
}

// Ordered: members keep the order they were told in.
void read_members(const std::string& text, const Json& weights, std::int64_t answer_ns,
                  Decision& decision, Tracker& tracker) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) return;
  for (const auto& item : json.items()) {
    const nlohmann::ordered_json& value = item.value();
    if (!value.is_object()) continue;
    Member member;
    member.model = tracker.models().intern(item.key());
    const auto number = [&](const char* name) {
      const auto found = value.find(name);
      return found != value.end() && found->is_number() ? found->get<double>() : kUnknown;
    };
    const auto label = [&](const char* name) {
      const auto found = value.find(name);
      if (found == value.end() || !found->is_string()) return kNoName;
      return tracker.labels().intern(found->get_ref<const std::string&>());
    };
    member.label = label("prediction");
    member.actual = label("outcome");
    member.score = number("score");
    member.confidence = number("confidence");
    if (member.has_outcome()) member.outcome_ns = answer_ns;
    if (weights.is_object() && weights.contains(item.key()) && weights[item.key()].is_number()) {
      member.weight = weights[item.key()].get<double>();
    }
    if (const auto at = value.find("outcome_time"); at != value.end() && at->is_string()) {
      member.outcome_ns = parse_time(at->get_ref<const std::string&>()).value_or(0);
    }
    if (const auto classes = value.find("probability");
        classes != value.end() && classes->is_object()) {
      member.class_begin = static_cast<std::uint16_t>(decision.classes.size());
      for (const auto& one : classes->items()) {
        if (!one.value().is_number()) continue;
        decision.classes.push_back({tracker.labels().intern(one.key()), one.value().get<double>()});
        ++member.class_count;
      }
    }
    decision.members.push_back(member);
  }
}

}  // namespace

const std::string_view kTablesJson = R"({"version": 1, "tables": [
  {"name": "ensemble_decisions", "key": ["decision_id"], "columns": [
    {"name": "decision_id", "type": "text"},
    {"name": "ensemble_id", "type": "text"},
    {"name": "timestamp", "type": "text"},
    {"name": "time_ns", "type": "integer"},
    {"name": "symbol", "type": "text"},
    {"name": "regime", "type": "text"},
    {"name": "final_decision", "type": "text"},
    {"name": "final_score", "type": "real"},
    {"name": "primary_prediction", "type": "text"},
    {"name": "primary_confidence", "type": "real"},
    {"name": "meta_prediction", "type": "text"},
    {"name": "meta_confidence", "type": "real"},
    {"name": "meta_score", "type": "real"},
    {"name": "consensus_level", "type": "real"},
    {"name": "disagreement_score", "type": "real"},
    {"name": "members", "type": "json"},
    {"name": "weights", "type": "json"},
    {"name": "path", "type": "json"},
    {"name": "stopped_by", "type": "text"},
    {"name": "outcome", "type": "text"},
    {"name": "decision_outcome", "type": "text"},
    {"name": "outcome_time", "type": "text"},
    {"name": "realized_return", "type": "real"},
    {"name": "correct", "type": "integer"},
    {"name": "state", "type": "text"},
    {"name": "correlation_id", "type": "text"},
    {"name": "first_sequence", "type": "integer"}],
   "indices": [["time_ns"]], "run_dependent": ["first_sequence"]},
  {"name": "ensemble_weights", "key": ["ensemble_id", "hour"], "columns": [
    {"name": "ensemble_id", "type": "text"},
    {"name": "hour", "type": "text"},
    {"name": "decisions", "type": "integer"},
    {"name": "sent_weights", "type": "json"},
    {"name": "sent_time", "type": "text"},
    {"name": "learned_weights", "type": "json"},
    {"name": "learned_time", "type": "text"},
    {"name": "figures", "type": "json"}]},
  {"name": "regime_transitions", "key": ["symbol", "time_ns", "to_regime"], "columns": [
    {"name": "symbol", "type": "text"},
    {"name": "time_ns", "type": "integer"},
    {"name": "timestamp", "type": "text"},
    {"name": "from_regime", "type": "text"},
    {"name": "to_regime", "type": "text"},
    {"name": "confidence", "type": "real"},
    {"name": "dwell_s", "type": "real"},
    {"name": "observations", "type": "integer"},
    {"name": "flicker", "type": "integer"},
    {"name": "sequence", "type": "integer"}],
   "run_dependent": ["sequence"]},
  {"name": "ensemble_tracker_ids", "key": ["kind", "chunk"], "columns": [
    {"name": "kind", "type": "integer"},
    {"name": "chunk", "type": "integer"},
    {"name": "ids", "type": "blob"}]}]})";

const std::string_view kDecisionColumns =
    "decision_id, ensemble_id, time_ns, symbol, regime, final_decision, final_score, "
    "primary_prediction, primary_confidence, meta_prediction, meta_confidence, meta_score, "
    "consensus_level, disagreement_score, members, weights, path, stopped_by, decision_outcome, "
    "outcome_time, realized_return, state, correlation_id, first_sequence";

// Without what has a column of its own: the weights, and the time of an outcome where it is the
// decision's.
std::string RowWriter::members_json(const Decision& decision) {
  std::string out = "{";
  out.reserve(decision.members.size() * 160);
  const std::int64_t answer_ns = decision.answer_ns();
  for (const Member& member : decision.members) {
    open_member(out, name_or_empty(tracker_.models(), member.model));
    out += '{';
    if (member.label != kNoName) add_text(out, "prediction", label_name(tracker_, member.label));
    add_number(out, "score", member.score);
    add_number(out, "confidence", member.confidence);
    if (member.class_count > 0) {
      open_member(out, "probability");
      out += '{';
      for (std::size_t i = 0; i < member.class_count; ++i) {
        const ClassProbability& one = decision.classes[member.class_begin + i];
        add_number(out, tracker_.labels().name(one.label), one.probability);
      }
      out += '}';
    }
    if (member.has_outcome()) {
      add_text(out, "outcome", label_name(tracker_, member.actual));
      if (member.outcome_ns != answer_ns) {
        add_text(out, "outcome_time", format_time(member.outcome_ns));
      }
    }
    out += '}';
  }
  return out += '}';
}

void RowWriter::decision(const Decision& decision) {
  const Tracker& t = tracker_;
  std::string weights = "{";
  for (const Member& member : decision.members) {
    add_number(weights, name_or_empty(t.models(), member.model), member.weight);
  }
  weights += '}';
  const std::string members = members_json(decision);
  const std::string time = format_time(decision.time_ns);
  const NameId actual = decision.common_actual();
  const bool is_scored = actual != kNoName && decision.final_label != kNoName;
  const std::string outcome_time =
      decision.has_any_outcome() ? format_time(decision.answer_ns()) : std::string();
  const std::string ensemble = name_or_empty(t.ensembles(), decision.ensemble);
  const std::string symbol = name_or_empty(t.symbols(), decision.symbol);
  const std::string regime = name_or_empty(t.regime_names(), decision.regime);
  const std::string final_label = label_name(t, decision.final_label);
  const std::string primary = label_name(t, decision.primary_label);
  const std::string meta = label_name(t, decision.meta_label);
  const std::string stopped_by = name_or_empty(t.steps(), decision.stopped_by);
  const std::string outcome = label_name(t, actual);
  const std::string own_outcome = label_name(t, decision.actual);
  rows_.upsert(
      "ensemble_decisions",
      {text_cell(decision.id),
       text_cell(ensemble),
       text_cell(time),
       RowCell::integer_value(decision.time_ns),
       text_cell(symbol),
       text_cell(regime),
       text_cell(final_label),
       real_cell(decision.final_score),
       text_cell(primary),
       real_cell(decision.primary_confidence),
       text_cell(meta),
       real_cell(decision.meta_confidence),
       real_cell(decision.meta_score),
       real_cell(decision.consensus_level),
       real_cell(decision.disagreement_score),
       json_cell(members),
       json_cell(weights),
       json_cell(decision.path_json),
       text_cell(stopped_by),
       text_cell(outcome),
       text_cell(own_outcome),
       text_cell(outcome_time),
       real_cell(decision.realized_return),
       is_scored ? RowCell::integer_value(actual == decision.final_label ? 1 : 0) : RowCell::null(),
       RowCell::text(name_of(decision.stage)),
       text_cell(decision.correlation_id),
       RowCell::integer_value(static_cast<std::int64_t>(decision.sequence))});
}

void RowWriter::hour(const Group& group, std::int64_t hour, const HourFigures& figures) {
  const auto weights = [&](const std::vector<double>& by_slot) {
    std::string out = "{";
    for (std::size_t slot = 0; slot < by_slot.size(); ++slot) {
      add_number(out, tracker_.models().name(group.roster()[slot]), by_slot[slot]);
    }
    return out += '}';
  };
  const std::string sent = weights(figures.sent);
  const std::string learned = weights(figures.learned);
  const std::string sent_time = figures.sent.empty() ? "" : format_time(figures.sent_ns);
  const std::string learned_time = figures.learned.empty() ? "" : format_time(figures.learned_ns);
  std::uint64_t decisions = 0;
  Json by_regime = Json::object();
  for (const auto& [regime, cell] : figures.cells) {
    decisions += cell.decision_count();
    by_regime[regime == kNoName ? "" : tracker_.regime_names().name(regime)] =
        cell_json(cell, group, tracker_);
  }
  const std::string figures_json = dump(by_regime);
  const std::string ensemble = name_or_empty(tracker_.ensembles(), group.ensemble());
  const std::string hour_text = format_time(hour * kHourNs);
  rows_.upsert("ensemble_weights",
               {RowCell::text(ensemble), text_cell(hour_text),
                RowCell::integer_value(static_cast<std::int64_t>(decisions)),
                figures.sent.empty() ? RowCell::null() : json_cell(sent), text_cell(sent_time),
                figures.learned.empty() ? RowCell::null() : json_cell(learned),
                text_cell(learned_time), json_cell(figures_json)});
}

void RowWriter::transition(const RegimeTransition& one) {
  const std::string symbol = name_or_empty(tracker_.symbols(), one.symbol);
  const std::string from = tracker_.regime_names().name(one.from);
  const std::string to = tracker_.regime_names().name(one.to);
  const std::string time = format_time(one.time_ns);
  rows_.upsert(
      "regime_transitions",
      {RowCell::text(symbol), RowCell::integer_value(one.time_ns), text_cell(time), text_cell(from),
       text_cell(to), real_cell(one.confidence), real_cell(static_cast<double>(one.dwell_ns) / 1e9),
       RowCell::integer_value(static_cast<std::int64_t>(one.observations)),
       RowCell::integer_value(one.is_flicker ? 1 : 0),
       RowCell::integer_value(static_cast<std::int64_t>(one.sequence))});
}

Json cell_json(const Cell& cell, const Group& group, const Tracker& tracker) {
  static constexpr const char* kNames[kFixedTracks] = {
      "final_decision", "primary_prediction", "meta_learner", "meta_learner_score",
      "majority_vote",  "weighted_vote",      "learned_vote"};
  Json by_final = Json::object();
  for (const auto& [label, count] : cell.decisions) {
    by_final[label == kNoName ? "" : tracker.labels().name(label)] = count;
  }
  Json tracks = Json::object();
  Json members = Json::object();
  for (std::size_t i = 0; i < cell.tracks.size(); ++i) {
    const Score& score = cell.tracks[i];
    if (score.known == 0 && score.briers == 0) continue;
    Json one{{"n", score.known}, {"correct", score.correct}};
    if (score.briers > 0) one["brier"] = score.brier_sum / static_cast<double>(score.briers);
    if (i < kFixedTracks) {
      tracks[kNames[i]] = std::move(one);
    } else {
      members[tracker.models().name(group.roster()[i - kFixedTracks])] = std::move(one);
    }
  }
  return {{"decisions", std::move(by_final)},
          {"votes", std::move(tracks)},
          {"members", std::move(members)}};
}

Decision decision_of(std::span<const ephor_cell> cells, Tracker& tracker) {
  RowReader row(cells);
  Decision out;
  out.id = row.text();
  out.key = hash64(out.id);
  if (out.key == 0) out.key = 1;
  out.ensemble = tracker.ensembles().intern(row.text());
  out.time_ns = row.integer();
  out.symbol = tracker.symbols().intern(row.text());
  out.regime = tracker.regime_names().intern(row.text());
  out.final_label = tracker.labels().intern(row.text());
  out.final_score = row.number();
  out.primary_label = tracker.labels().intern(row.text());
  out.primary_confidence = row.number();
  out.meta_label = tracker.labels().intern(row.text());
  out.meta_confidence = row.number();
  out.meta_score = row.number();
  out.consensus_level = row.number();
  out.disagreement_score = row.number();
  const std::string members = row.text();
  const Json weights = json_or_null(row.text());
  out.path_json = row.text();
  out.stopped_by = tracker.steps().intern(row.text());
  out.actual = tracker.labels().intern(row.text());
  const std::int64_t answer_ns = parse_time(row.text()).value_or(0);
  if (out.actual != kNoName) out.actual_ns = answer_ns;
  read_members(members, weights, answer_ns, out, tracker);
  out.realized_return = row.number();
  const std::string state = row.text();
  out.stage =
      state == "answered" ? Stage::answered : (state == "open" ? Stage::open : Stage::unanswered);
  out.correlation_id = row.text();
  out.sequence = static_cast<std::uint64_t>(row.integer());
  out.is_decided = true;
  out.is_viewed = true;
  return out;
}

}  // namespace ephor::ensemble_tracker
