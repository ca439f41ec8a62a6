// SPDX-License-Identifier: Apache-2.0
#include "model_table.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <map>
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

// ---- HitWindow, ScoreGroups
// -----------------------------------------------------------------------

void HitWindow::push(bool is_hit) {
  if (capacity_ == 0) return;
  if (bits_.empty()) bits_.resize((capacity_ + 63) / 64);
  if (count_ == capacity_)
    hits_ -= bit(next_) ? 1 : 0;
  else
    ++count_;
  hits_ += is_hit ? 1 : 0;
  const std::uint64_t mask = std::uint64_t{1} << (next_ % 64);
  if (is_hit)
    bits_[next_ / 64] |= mask;
  else
    bits_[next_ / 64] &= ~mask;
  next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
}

void HitWindow::save(StateWriter& out) const {
  out.varint(count_);
  std::uint8_t packed = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const std::size_t at = (next_ + capacity_ - count_ + i) % capacity_;
    packed = static_cast<std::uint8_t>(packed | (bit(at) ? 1U : 0U) << (i % 8));
    if (i % 8 == 7 || i + 1 == count_) out.u8(std::exchange(packed, std::uint8_t{0}));
  }
}

void HitWindow::load(StateReader& in) {
  const std::uint64_t count = in.varint();
  if (count > in.remaining() * 8) throw Error(EPHOR_INVALID, "state: a window that is cut off");
  std::uint8_t packed = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i % 8 == 0) packed = in.u8();
    push((packed >> (i % 8) & 1) != 0);
  }
}

std::uint16_t ScoreGroups::index_of(std::string_view name) {
  if (last_ < groups_.size() && groups_[last_].name == name) return last_;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].name == name) return last_ = static_cast<std::uint16_t>(i);
  }
  if (groups_.size() > kGroupsMax) return static_cast<std::uint16_t>(kGroupsMax);
  groups_.push_back({groups_.size() == kGroupsMax ? "(other)" : std::string(name), {}});
  return last_ = static_cast<std::uint16_t>(groups_.size() - 1);
}

Json ScoreGroups::to_json() const {
  Json out = Json::object();
  for (const Group& group : groups_) {
    if (!group.name.empty()) out[group.name] = group.scores.to_json();
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

void ScoreGroups::load(StateReader& in) {
  const std::size_t count = in.count();
  if (count > kGroupsMax + 1) throw Error(EPHOR_INVALID, "state: too many versions or symbols");
  groups_.resize(count);
  for (Group& group : groups_) {
    group.name = in.text();
    group.scores.load(in);
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

void ModelTable::add_joined(const Joined& joined, const Verdict& verdict,
                            const std::optional<Labels::ClassPair>& classes) {
  Model& model = touch(joined.prediction.model);
  Hour* const hour = hour_at(model, joined.outcome.time_ns);
  model.total.add(verdict);
  model.versions.at(joined.prediction.version).add(verdict);
  model.symbols.at(joined.prediction.symbol).add(verdict);
  model.last_outcome_ns = std::max(model.last_outcome_ns, joined.outcome.time_ns);
  if (classes) {
    count_confusion(model, *classes);
    // The window is the one figure here that depends on order, so late outcomes stay out of it.
    if (!joined.outcome.is_late) model.window.push(verdict.is_correct);
  }
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

void ModelTable::set_deployment(std::uint32_t model, std::string_view version,
                                std::int64_t time_ns) {
  Model& entry = touch(model);
  if (time_ns < entry.deployed_ns) return;
  entry.deployed_version = version;
  entry.deployed_ns = time_ns;
}

void ModelTable::count_confusion(Model& model, const Labels::ClassPair& pair) {
  for (Cell& cell : model.confusion) {
    if (cell.predicted == pair.predicted && cell.actual == pair.actual) {
      ++cell.count;
      return;
    }
  }
  if (model.confusion.size() < kConfusionCellsMax) {
    model.confusion.push_back({pair.predicted, pair.actual, 1});
  } else {
    ++model.confusion_other;
  }
}

// ---- answers
// --------------------------------------------------------------------------------------

Json ModelTable::brief(std::uint32_t model) const {
  const Model& entry = models_[model];
  Json out = entry.total.to_json();
  const auto count = static_cast<double>(entry.window.count());
  const auto interval = wilson_95(entry.window.hits(), entry.window.count());
  out["model_id"] = entry.id;
  out["model_type"] = text_or_null(entry.type);
  out["model_version"] = text_or_null(entry.version);
  out["deployed_version"] = text_or_null(entry.deployed_version);
  out["deployed_at"] = time_or_null(entry.deployed_ns);
  out["last_prediction"] = time_or_null(entry.last_prediction_ns);
  out["last_outcome"] = time_or_null(entry.last_outcome_ns);
  out["window"] = {
      {"outcomes_max", limits_.window},
      {"outcomes", entry.window.count()},
      {"accuracy", interval ? Json(static_cast<double>(entry.window.hits()) / count) : Json()},
      {"accuracy_low_95", interval ? Json(interval->low) : Json()},
      {"accuracy_high_95", interval ? Json(interval->high) : Json()}};
  return out;
}

Json ModelTable::confusion_json(const Model& model, const Labels& labels) {
  struct Counts {
    std::uint64_t predicted = 0;
    std::uint64_t actual = 0;
    std::uint64_t correct = 0;
  };
  std::map<std::string, Counts> classes;
  Json matrix = Json::object();
  for (const Cell& cell : model.confusion) {
    const std::string predicted(labels.name(cell.predicted));
    const std::string actual(labels.name(cell.actual));
    classes[predicted].predicted += cell.count;
    classes[actual].actual += cell.count;
    if (cell.predicted == cell.actual) classes[actual].correct += cell.count;
    Json& place = matrix[actual][predicted];
    place = cell.count + (place.is_null() ? 0 : place.get<std::uint64_t>());
  }
  Json per_class = Json::object();
  const auto ratio = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? Json() : Json(static_cast<double>(part) / static_cast<double>(whole));
  };
  for (const auto& [name, counts] : classes) {
    per_class[name] = {{"predicted", counts.predicted},
                       {"actual", counts.actual},
                       {"correct", counts.correct},
                       {"precision", ratio(counts.correct, counts.predicted)},
                       {"recall", ratio(counts.correct, counts.actual)}};
  }
  return {{"by_actual_then_predicted", std::move(matrix)},
          {"classes", std::move(per_class)},
          {"beyond_bound", model.confusion_other}};
}

Json ModelTable::detail(std::uint32_t model, const Labels& labels) const {
  const Model& entry = models_[model];
  Json out = brief(model);
  out["confusion"] = confusion_json(entry, labels);
  out["versions"] = entry.versions.to_json();
  out["symbols"] = entry.symbols.to_json();
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
  const std::string start = rfc3339(hour.start_ns);
  const Json metadata = {{"model_type", text_or_null(type)},
                         {"model_version", text_or_null(version)},
                         {"feature_importance_method", text_or_null(importance.method)},
                         {"feature_importance_time", time_or_null(importance.time_ns)},
                         {"period_s", 3600}};
  return {model.id + ":" + start,
          model.id,
          start,
          dump({{"hour", hour.scores.to_json()}, {"cumulative", total.to_json()}}),
          importance.json,
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
    out.varint(model.confusion.size());
    for (const Cell& cell : model.confusion) {
      out.u32(cell.predicted).u32(cell.actual).varint(cell.count);
    }
    out.varint(model.confusion_other);
    model.window.save(out);
    save_importance(out, model.importance);
    out.varint(model.hour_missed);
    for (const Hour* hour : {&model.before, &model.newest}) {
      out.i64(hour->start_ns).boolean(hour->is_dirty);
      out.text(hour->type).text(hour->version);
      hour->scores.save(out);
      hour->total.save(out);
      save_importance(out, hour->importance);
    }
  }
}

void ModelTable::load(StateReader& in, const Labels& labels) {
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
    model.total.load(in);
    model.versions.load(in);
    model.symbols.load(in);
    const std::size_t cells = in.count(9);
    if (cells > kConfusionCellsMax) throw Error(EPHOR_INVALID, "state: too many pairs of classes");
    for (std::size_t cell = 0; cell < cells; ++cell) {
      Cell read{in.u32(), 0, 0};
      read.actual = in.u32();
      read.count = in.varint();
      if (!labels.is_valid(read.predicted) || !labels.is_valid(read.actual)) {
        throw Error(EPHOR_INVALID, "state: a class that has no name");
      }
      model.confusion.push_back(read);
    }
    model.confusion_other = in.varint();
    model.window.load(in);
    load_importance(in, model.importance);
    model.hour_missed = in.varint();
    for (Hour* hour : {&model.before, &model.newest}) {
      hour->start_ns = in.i64();
      hour->is_dirty = in.boolean();
      hour->type = in.text();
      hour->version = in.text();
      hour->scores.load(in);
      hour->total.load(in);
      load_importance(in, hour->importance);
    }
    model.predictions_untaken = model.total.predictions;
    model.is_touched = true;
    touched_.push_back(static_cast<std::uint32_t>(i));
  }
}

}  // namespace ephor::ml_monitor
