// SPDX-License-Identifier: Apache-2.0
#include "model_table.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <utility>

namespace ephor::ml_monitor {
namespace {

Json time_or_null(std::int64_t time_ns) {
  return time_ns == kNoTime ? Json() : Json(rfc3339(time_ns));
}

void save_importance(StateWriter& out, const Importance& importance) {
  out.text(importance.json).text(importance.method).i64(importance.time_ns);
}
void load_importance(StateReader& in, Importance& importance) {
  importance.json = in.text();
  importance.method = in.text();
  importance.time_ns = in.i64();
  if (!importance.json.empty() && !Json::accept(importance.json)) {
    throw Error(EPHOR_INVALID, "state: a feature importance that is no JSON");
  }
}

}  // namespace

// ---- ScoreGroups
// ----------------------------------------------------------------------------------

std::uint16_t ScoreGroups::index_of(std::string_view name) {
  if (last_ < groups_.size() && groups_[last_].name == name) return last_;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].name == name) return last_ = static_cast<std::uint16_t>(i);
  }
  if (groups_.size() > kGroupsMax) return static_cast<std::uint16_t>(kGroupsMax);
  groups_.push_back({groups_.size() == kGroupsMax ? "(other)" : std::string(name), {}});
  return last_ = static_cast<std::uint16_t>(groups_.size() - 1);
}

Json ScoreGroups::to_json(const Labels* labels) const {
  Json out = Json::object();
  for (const Group& group : groups_) {
    if (group.name.empty()) continue;
    Json& place = out[group.name];
    place = group.scores.to_json();
    if (labels != nullptr) group.scores.add_detail(place, *labels);
  }
  return out;
}

void ScoreGroups::save(StateWriter& out) const {
  out.varint(groups_.size());
  for (const Group& group : groups_) {
    out.text(group.name);
    group.scores.save(out);
  }
}

void ScoreGroups::load(StateReader& in, const Labels& labels) {
  const std::size_t count = in.count();
  if (count > kGroupsMax + 1) throw Error(EPHOR_INVALID, "state: too many versions or symbols");
  groups_.resize(count);
  for (Group& group : groups_) {
    group.name = in.text();
    group.scores.load(in, labels);
  }
}

// ---- ModelTable
// -----------------------------------------------------------------------------------

std::optional<std::uint32_t> ModelTable::find(std::string_view model_id) const {
  const std::uint32_t found =
      index_.find(hash64(model_id), [&](std::uint32_t at) { return models_[at].id == model_id; });
  if (found == HashIndex::kNone) return std::nullopt;
  return found;
}

std::uint32_t ModelTable::index_of(std::string_view model_id) {
  if (const auto found = find(model_id)) return *found;
  const bool is_full = models_.size() - (other_ ? 1 : 0) >= limits_.models_max;
  if (is_full && other_) return *other_;
  const auto at = static_cast<std::uint32_t>(models_.size());
  models_.emplace_back(limits_.window);
  if (is_full) {
    // Not in the index: a real model may have that name.
    models_.back().id = kOtherModel;
    other_ = at;
  } else {
    models_.back().id = model_id;
    index_.insert(hash64(model_id), at);
  }
  return at;
}

std::uint16_t ModelTable::version_index(std::uint32_t model, std::string_view version) {
  return models_[model].versions.index_of(version);
}

std::uint16_t ModelTable::symbol_index(std::uint32_t model, std::string_view symbol) {
  return models_[model].symbols.index_of(symbol);
}

bool ModelTable::is_known(const PendingPrediction& prediction) const {
  return prediction.model < models_.size() &&
         prediction.version < models_[prediction.model].versions.size() &&
         prediction.symbol < models_[prediction.model].symbols.size();
}

ModelTable::Model& ModelTable::touch(std::uint32_t model) {
  Model& entry = models_[model];
  if (!std::exchange(entry.is_touched, true)) touched_.push_back(model);
  return entry;
}

void ModelTable::keep_what_holds(const Model& model, Hour& hour) {
  hour.total = model.total;
  hour.importance = model.importance;
  hour.drift_scores = model.drift_scores;
  hour.type = model.type;
  hour.version = model.version;
}

ModelTable::Hour* ModelTable::hour_at(Model& model, std::int64_t time_ns) {
  // Nearly always it is the hour in hand, which needs no division.
  if (model.newest.start_ns != kNoTime && time_ns >= model.newest.start_ns &&
      static_cast<std::uint64_t>(time_ns) - static_cast<std::uint64_t>(model.newest.start_ns) <
          static_cast<std::uint64_t>(kHourNs)) {
    model.newest.is_dirty = true;
    return &model.newest;
  }
  const std::int64_t start = hour_start(time_ns);
  if (model.newest.start_ns == kNoTime || start > model.newest.start_ns) {
    if (model.before.is_dirty) close(model, model.before);
    keep_what_holds(model, model.newest);
    model.before = std::exchange(model.newest, Hour{});
    model.newest.start_ns = start;
  }
  // Its row carries the cumulative figures, which every event changes.
  model.newest.is_dirty = true;
  if (start == model.newest.start_ns) return &model.newest;  // it has just been opened
  if (start == model.before.start_ns) return &model.before;
  ++model.hour_missed;
  return nullptr;
}

void ModelTable::add_prediction(const PendingPrediction& prediction, std::string_view model_type,
                                std::string_view model_version) {
  Model& model = touch(prediction.model);
  Hour* const hour = hour_at(model, prediction.time_ns);
  if (!model_type.empty() && model.type != model_type) model.type = model_type;
  if (!model_version.empty() && model.version != model_version) model.version = model_version;
  std::optional<double> confidence;
  if (prediction.has_confidence) confidence = prediction.confidence;
  model.total.add_prediction(confidence);
  model.versions.at(prediction.version).add_prediction(confidence);
  model.symbols.at(prediction.symbol).add_prediction(confidence);
  ++model.predictions_untaken;
  model.last_prediction_ns = std::max(model.last_prediction_ns, prediction.time_ns);
  if (hour == nullptr) return;
  hour->scores.add_prediction(confidence);
  hour->is_dirty = true;
  if (hour == &model.before) keep_what_holds(model, *hour);
}

void ModelTable::add_joined(const Joined& joined, const Verdict& verdict, std::string_view regime) {
  Model& model = touch(joined.prediction.model);
  Hour* const hour = hour_at(model, joined.outcome.time_ns);
  model.total.add(verdict);
  model.versions.at(joined.prediction.version).add(verdict);
  model.symbols.at(joined.prediction.symbol).add(verdict);
  model.regimes.at(model.regimes.index_of(regime)).add(verdict);
  model.last_outcome_ns = std::max(model.last_outcome_ns, joined.outcome.time_ns);
  // The window is the one figure here that depends on order, so late outcomes stay out of it.
  if (verdict.kind == Verdict::Kind::kClass && !joined.outcome.is_late) model.window.push(verdict);
  if (hour == nullptr) return;
  hour->scores.add(verdict);
  hour->is_dirty = true;
  if (hour == &model.before) keep_what_holds(model, *hour);
}

void ModelTable::add_lost(const PendingPrediction& prediction) {
  Model& model = touch(prediction.model);
  model.newest.is_dirty = true;
  ++model.total.lost;
  ++model.versions.at(prediction.version).lost;
  ++model.symbols.at(prediction.symbol).lost;
}

void ModelTable::set_importance(std::uint32_t model, Importance importance) {
  Model& entry = touch(model);
  if (importance.json.size() > kImportanceBytesMax) return;
  if (importance.time_ns < entry.importance.time_ns) return;  // an older one, out of order
  Hour* const hour = hour_at(entry, importance.time_ns);
  entry.importance = std::move(importance);
  if (hour == nullptr) return;
  hour->is_dirty = true;
  if (hour == &entry.before) keep_what_holds(entry, *hour);
}

void ModelTable::set_drift_scores(std::uint32_t model, std::string json) {
  Model& entry = touch(model);
  entry.drift_scores = std::move(json);
  entry.newest.is_dirty = entry.newest.start_ns != kNoTime;
}

void ModelTable::set_deployment(std::uint32_t model, std::string_view version,
                                std::int64_t time_ns) {
  Model& entry = touch(model);
  if (time_ns < entry.deployed_ns) return;
  entry.deployed_version = version;
  entry.deployed_ns = time_ns;
}

// ---- answers
// --------------------------------------------------------------------------------------

Json ModelTable::brief(std::uint32_t model) const { return brief(model, models_[model].total); }

Json ModelTable::brief(std::uint32_t model, const Scores& scores) const {
  const Model& entry = models_[model];
  Json out = scores.to_json();
  out["model_id"] = entry.id;
  out["model_type"] = text_or_null(entry.type);
  out["model_version"] = text_or_null(entry.version);
  out["deployed_version"] = text_or_null(entry.deployed_version);
  out["deployed_at"] = time_or_null(entry.deployed_ns);
  out["last_prediction"] = time_or_null(entry.last_prediction_ns);
  out["last_outcome"] = time_or_null(entry.last_outcome_ns);
  out["window"] = entry.window.scores().to_json();
  // Only outcomes enter the window.
  for (const char* name :
       {"predictions", "outcomes_joined", "waiting", "lost", "incomparable", "confidence_count",
        "mean_confidence", "regression_count", "mean_absolute_error", "root_mean_squared_error"}) {
    out["window"].erase(name);
  }
  out["window"]["outcomes_max"] = limits_.window;
  out["window"]["outcomes"] = entry.window.count();
  return out;
}

Json ModelTable::detail(std::uint32_t model) const {
  const Model& entry = models_[model];
  Json out = brief(model);
  entry.total.add_detail(out, labels_);
  entry.window.scores().add_detail(out["window"], labels_);
  out["versions"] = entry.versions.to_json(&labels_);
  out["symbols"] = entry.symbols.to_json();
  out["regimes"] = entry.regimes.to_json(&labels_);
  for (Json& regime : out["regimes"]) {
    for (const char* name :
         {"predictions", "waiting", "lost", "confidence_count", "mean_confidence"}) {
      regime.erase(name);
    }
  }
  out["macro_form"] =
      "unweighted mean over classes that were predicted or came true; never predicted: precision 0";
  out["calibration_form"] =
      "confidence, else the greatest probability, in 10 equal-width bins; gap = mean confidence - "
      "accuracy; error = sum over bins of share * |mean confidence - accuracy|";
  out["brier_form"] = "sum over classes of (probability - outcome)^2, from 0 to 2";
  out["log_loss_form"] = "natural logarithm, probability clipped to [2^-52, 1]";
  out["feature_importance"] = json_or_null(entry.importance.json);
  out["feature_importance_method"] = text_or_null(entry.importance.method);
  out["feature_importance_time"] = time_or_null(entry.importance.time_ns);
  out["events_of_closed_hours"] = entry.hour_missed;
  return out;
}

std::vector<std::uint32_t> ModelTable::sorted_by_id() const {
  std::vector<std::uint32_t> order;
  order.reserve(models_.size());
  for (std::uint32_t i = 0; i < models_.size(); ++i) {
    if (i != other_) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](std::uint32_t left, std::uint32_t right) {
    return models_[left].id < models_[right].id;
  });
  return order;
}

// ---- rows
// -----------------------------------------------------------------------------------------

BehaviorRow ModelTable::row_of(const Model& model, const Hour& hour) const {
  const bool is_newest = &hour == &model.newest;
  const Scores& total = is_newest ? model.total : hour.total;
  const Importance& importance = is_newest ? model.importance : hour.importance;
  const std::string& type = is_newest ? model.type : hour.type;
  const std::string& version = is_newest ? model.version : hour.version;
  const std::string& drift = is_newest ? model.drift_scores : hour.drift_scores;
  Json figures = hour.scores.to_json();
  hour.scores.add_detail(figures, labels_);
  const std::string start = rfc3339(hour.start_ns);
  const Json metadata = {{"model_type", text_or_null(type)},
                         {"model_version", text_or_null(version)},
                         {"feature_importance_method", text_or_null(importance.method)},
                         {"feature_importance_time", time_or_null(importance.time_ns)},
                         {"period_s", 3600}};
  return {model.id + ":" + start,
          model.id,
          start,
          dump({{"hour", std::move(figures)}, {"cumulative", total.to_json()}}),
          importance.json,
          drift,
          dump(metadata)};
}

void ModelTable::close(const Model& model, const Hour& hour) {
  if (closed_rows_.size() >= kClosedRowsMax) {
    ++rows_dropped_;
    return;
  }
  closed_rows_.push_back(row_of(model, hour));
}

std::vector<BehaviorRow> ModelTable::changed_rows() const {
  std::vector<BehaviorRow> rows = closed_rows_;
  for (const Model& model : models_) {
    for (const Hour* hour : {&model.before, &model.newest}) {
      if (hour->is_dirty) rows.push_back(row_of(model, *hour));
    }
  }
  return rows;
}

void ModelTable::set_rows_saved() {
  closed_rows_.clear();
  for (Model& model : models_) model.before.is_dirty = model.newest.is_dirty = false;
}

std::vector<ModelTable::Touched> ModelTable::take_touched() {
  std::vector<Touched> out;
  out.reserve(touched_.size());
  for (const std::uint32_t model : touched_) {
    models_[model].is_touched = false;
    out.push_back({model, std::exchange(models_[model].predictions_untaken, 0)});
  }
  touched_.clear();
  return out;
}

// ---- state
// ----------------------------------------------------------------------------------------

void ModelTable::save(StateWriter& out) const {
  out.varint(models_.size());
  out.boolean(other_.has_value());
  if (other_) out.varint(*other_);
  out.varint(rows_dropped_);
  for (const Model& model : models_) {
    out.text(model.id).text(model.type).text(model.version).text(model.deployed_version);
    out.i64(model.deployed_ns).i64(model.last_prediction_ns).i64(model.last_outcome_ns);
    model.total.save(out);
    model.versions.save(out);
    model.symbols.save(out);
    model.regimes.save(out);
    out.text(model.drift_scores);
    model.window.save(out);
    save_importance(out, model.importance);
    out.varint(model.hour_missed);
    for (const Hour* hour : {&model.before, &model.newest}) {
      out.i64(hour->start_ns).boolean(hour->is_dirty);
      out.text(hour->type).text(hour->version).text(hour->drift_scores);
      hour->scores.save(out);
      hour->total.save(out);
      save_importance(out, hour->importance);
    }
  }
}

void ModelTable::load(StateReader& in) {
  const std::size_t count = in.count(100);
  std::optional<std::uint64_t> other;
  if (in.boolean()) other = in.varint();
  if (other && *other >= count) throw Error(EPHOR_INVALID, "state: the shared model is not there");
  rows_dropped_ = in.varint();
  models_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Model& model = models_.emplace_back(limits_.window);
    model.id = in.text();
    if (other == i) {
      other_ = static_cast<std::uint32_t>(i);
    } else {
      const std::uint64_t hash = hash64(model.id);
      if (find(model.id)) throw Error(EPHOR_INVALID, "state: a model twice");
      index_.insert(hash, static_cast<std::uint32_t>(i));
    }
    model.type = in.text();
    model.version = in.text();
    model.deployed_version = in.text();
    model.deployed_ns = in.i64();
    model.last_prediction_ns = in.i64();
    model.last_outcome_ns = in.i64();
    model.total.load(in, labels_);
    model.versions.load(in, labels_);
    model.symbols.load(in, labels_);
    model.regimes.load(in, labels_);
    model.drift_scores = in.text();
    if (!model.drift_scores.empty() && !Json::accept(model.drift_scores)) {
      throw Error(EPHOR_INVALID, "state: drift scores that are no JSON");
    }
    model.window.load(in, labels_);
    load_importance(in, model.importance);
    model.hour_missed = in.varint();
    for (Hour* hour : {&model.before, &model.newest}) {
      hour->start_ns = in.i64();
      hour->is_dirty = in.boolean();
      hour->type = in.text();
      hour->version = in.text();
      hour->drift_scores = in.text();
      hour->scores.load(in, labels_);
      hour->total.load(in, labels_);
      load_importance(in, hour->importance);
    }
    model.predictions_untaken = model.total.predictions;
    model.is_touched = true;
    touched_.push_back(static_cast<std::uint32_t>(i));
  }
}

}  // namespace ephor::ml_monitor
