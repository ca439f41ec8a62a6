// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cmath>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor.hpp"

namespace ephor::ml_monitor {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::string_view kTable = "model_behavior_tracking";
// Series per metric; models beyond it are counted under model="(other)".
constexpr std::size_t kMetricModelsMax = 200;

std::int64_t seconds(const Json& json, std::string_view name, std::int64_t fallback_ns) {
  const double fallback = static_cast<double>(fallback_ns) / static_cast<double>(kSecondNs);
  return static_cast<std::int64_t>(
      std::llround(member_or(json, name, fallback) * static_cast<double>(kSecondNs)));
}

// RFC 3339, or nanoseconds since the epoch as a number or its digits.
std::optional<std::int64_t> request_time(const Json& request, std::string_view name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    if (const auto time = parse_time(text)) return time;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
  }
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found " + found->dump() +
                  ", expected RFC 3339 or nanoseconds since the epoch",
              "/" + std::string(name));
}

Monitor::Period period_from(const Json& request) {
  return {request_time(request, "from"), request_time(request, "to")};
}

struct Page {
  std::size_t offset = 0;
  std::size_t limit = 0;
};
Page page_from(const Json& request) {
  const auto limit = request_integer(request, "limit", 200, 1, 10'000);
  const auto offset = request_integer(request, "offset", 0, 0, 1'000'000'000);
  return {static_cast<std::size_t>(offset), static_cast<std::size_t>(limit)};
}

Monitor::Config config_from(const Json& json, const std::string& instance) {
  Monitor::Config config;
  config.labels.aliases = member_or(json, "aliases", config.labels.aliases);
  config.labels.numeric_outcome_labels =
      member_or(json, "numeric_outcome_labels", config.labels.numeric_outcome_labels);
  config.labels.score_dead_band = member_or(json, "score_dead_band", 0.0);
  config.joiner.waiting_max = member_or(json, "max_pending", config.joiner.waiting_max);
  config.joiner.remembered_max = member_or(json, "max_remembered", config.joiner.remembered_max);
  config.joiner.wait_ns_max = static_cast<std::int64_t>(
      std::llround(member_or(json, "max_wait_s", 604'800.0) * static_cast<double>(kSecondNs)));
  config.models.models_max = member_or(json, "max_models", config.models.models_max);
  config.models.window = member_or(json, "window", config.models.window);

  DriftSettings& drift = config.drift;
  drift.is_enabled = member_or(json, "drift_detection_enabled", drift.is_enabled);
  drift.threshold = member_or(json, "drift_threshold", drift.threshold);
  drift.false_alarm_budget = member_or(json, "false_alarm_budget", drift.false_alarm_budget);
  drift.findings_max = member_or(json, "max_findings", drift.findings_max);
  drift.features_max = member_or(json, "max_features", drift.features_max);
  drift.cohort.block_decisions = member_or(json, "block_decisions", drift.cohort.block_decisions);
  // Half a block says enough of one model; a stratum is known after a whole one.
  drift.cohort.shift.block_count_min =
      static_cast<std::uint32_t>((drift.cohort.block_decisions + 1) / 2);
  drift.cohort.shift.stratum_count_min = static_cast<std::uint32_t>(drift.cohort.block_decisions);
  drift.groups.groups_max = member_or(json, "max_open_decisions", drift.groups.groups_max);
  drift.groups.wait_ns = seconds(json, "peer_wait_s", drift.groups.wait_ns);
  drift.adwin.delta = member_or(json, "adwin_delta", drift.adwin.delta);
  drift.page_hinkley.threshold =
      member_or(json, "page_hinkley_threshold", drift.page_hinkley.threshold);
  drift.psi.bins = member_or(json, "psi_bins", drift.psi.bins);
  drift.psi.binning = member_or<std::string>(json, "psi_binning", "reference_quantiles") ==
                              name_of(Binning::kEqualWidth)
                          ? Binning::kEqualWidth
                          : Binning::kReferenceQuantiles;
  RetrainingSettings& retraining = config.retraining;
  retraining.is_enabled = member_or(json, "auto_retraining_enabled", retraining.is_enabled);
  retraining.persistence_ns = seconds(json, "retraining_after_s", retraining.persistence_ns);
  retraining.cooldown_ns = seconds(json, "retraining_cooldown_s", retraining.cooldown_ns);
  retraining.requests_max = member_or(json, "max_retraining_requests", retraining.requests_max);
  config.instance = instance;
  return config;
}

}  // namespace

class MlMonitor final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.2.0";
  static constexpr std::string_view kSummary =
      "Joins predictions with their outcomes: scores per model, drift, findings, retraining";
  static constexpr std::uint32_t kStateVersion = 2;
  static constexpr std::string_view kConfigSchema = R"({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": false,
    "properties": {
      "enable": {"type": "boolean", "default": true,
        "description": "Read predictions and outcomes; false: the plugin answers, but learns nothing"},
      "max_pending": {"type": "integer", "default": 200000, "minimum": 1, "maximum": 10000000,
        "description": "Predictions and outcomes that may wait for each other; above it the longest waiting is given up and counted"},
      "max_remembered": {"type": "integer", "default": 100000, "minimum": 0, "maximum": 10000000,
        "description": "Joined ids remembered to recognise repeated and corrected outcomes"},
      "max_wait_s": {"type": "number", "default": 604800, "exclusiveMinimum": 0, "maximum": 3153600000,
        "description": "Greatest distance in event time between a prediction and its outcome, in seconds"},
      "window": {"type": "integer", "default": 500, "minimum": 1, "maximum": 100000,
        "description": "Outcomes per model behind the windowed accuracy"},
      "max_models": {"type": "integer", "default": 10000, "minimum": 1, "maximum": 100000,
        "description": "Models with figures of their own; further ones share one entry"},
      "aliases": {"type": "object", "default": {}, "additionalProperties": {"type": "string"},
        "description": "Spellings of a class: {spelling: class}, beside long and enter_long = buy, short and enter_short = sell, neutral and flat = hold; without regard to case"},
      "numeric_outcome_labels": {"type": "object", "default": {"1": "buy", "0": "sell", "-1": "sell"},
        "additionalProperties": {"type": "string"},
        "description": "The class a number means beside a prediction that is a class: {number: class}"},
      "score_dead_band": {"type": "number", "default": 0, "minimum": 0, "maximum": 1,
        "description": "A score in [-1, 1] no further from 0 than this predicts hold; above it buy, below it sell"},
      "feature_importance_tracking": {"type": "boolean", "default": true,
        "x-ephor-from": "monitoring.ml_monitor.feature_importance_tracking",
        "description": "Keep the latest feature importance of each model"},
      "drift_detection_enabled": {"type": "boolean", "default": true,
        "x-ephor-from": "monitoring.ml_monitor.drift_detection_enabled",
        "description": "false: no detector runs, nothing is found and no retraining requested"},
      "drift_threshold": {"type": "number", "default": 0.1, "minimum": 0, "maximum": 10,
        "x-ephor-from": "monitoring.ml_monitor.drift_threshold",
        "description": "Least effect worth a finding: KS distance and PSI of a feature, share of missing values, rise of a model's error or confidence against its peers, loss of correlation with them"},
      "false_alarm_budget": {"type": "number", "default": 0.3, "exclusiveMinimum": 0, "maximum": 1000,
        "description": "False findings allowed per watched figure in 10,000 blocks; the statistical limit follows from it"},
      "block_decisions": {"type": "integer", "default": 30, "minimum": 4, "maximum": 10000,
        "description": "Decisions (or feature events) in a block, the unit in which figures are compared"},
      "peer_wait_s": {"type": "number", "default": 600, "exclusiveMinimum": 0, "maximum": 3153600000,
        "description": "How long after the first outcome of a decision those of the other models are waited for, in event time"},
      "max_open_decisions": {"type": "integer", "default": 20000, "minimum": 1, "maximum": 1000000,
        "description": "Decisions whose outcomes may be waited for to compare models; above it the oldest are not compared"},
      "adwin_delta": {"type": "number", "default": 0.002, "exclusiveMinimum": 0, "maximum": 1,
        "description": "ADWIN on each model's errors: chance of a false cut"},
      "page_hinkley_threshold": {"type": "number", "default": 50, "exclusiveMinimum": 0, "maximum": 1000000000,
        "description": "Page-Hinkley on each model's errors: alarm beyond this cumulated deviation"},
      "psi_bins": {"type": "integer", "default": 10, "minimum": 2, "maximum": 1000,
        "description": "Bins of the population stability index"},
      "psi_binning": {"type": "string", "default": "reference_quantiles", "enum": ["reference_quantiles", "equal_width"],
        "description": "Where its bins end: at quantiles of the reference, or at equal distances over the range"},
      "max_findings": {"type": "integer", "default": 500, "minimum": 1, "maximum": 100000,
        "description": "Findings kept; the oldest closed ones make room"},
      "max_features": {"type": "integer", "default": 512, "minimum": 1, "maximum": 100000,
        "description": "Features watched, about 16 kB each; further ones are counted only"},
      "auto_retraining_enabled": {"type": "boolean", "default": true,
        "x-ephor-from": "monitoring.ml_monitor.auto_retraining_enabled",
        "description": "Request a retraining (ephor.retrain) when a finding about a model lasts"},
      "retraining_after_s": {"type": "number", "default": 1800, "minimum": 0, "maximum": 3153600000,
        "description": "A finding about a model must have been open this long, in event time"},
      "retraining_cooldown_s": {"type": "number", "default": 86400, "minimum": 0, "maximum": 3153600000,
        "description": "Least time between two requests for one model"},
      "max_retraining_requests": {"type": "integer", "default": 1000, "minimum": 1, "maximum": 100000,
        "description": "Requests kept; the oldest make room"}
    }
  })";

  MlMonitor(Host host, std::string_view config_text) : host_(std::move(host)) {
    const Json config = parse_json(config_text, "configuration of ml_monitor");
    config_ = config_from(config, host_.instance());
    monitor_ = std::make_unique<Monitor>(config_);
    is_enabled_ = member_or(config, "enable", true);
    tracks_importance_ = member_or(config, "feature_importance_tracking", true);
    prediction_topic_ = host_.topic_id("ephor.prediction");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    importance_topic_ = host_.topic_id("ephor.feature_importance");
    deployment_topic_ = host_.topic_id("ephor.deployment");
    features_topic_ = host_.topic_id("ephor.features");
    decision_topic_ = host_.topic_id("ephor.ensemble_decision");
    regime_topic_ = host_.topic_id("ephor.regime");
    reference_topic_ = host_.topic_id("ephor.reference");
    retrain_status_topic_ = host_.topic_id("ephor.retrain_status");
    tick_topic_ = host_.topic_id("ephor.tick");
    flush_topic_ = host_.topic_id("ephor.flush");
    host_.declare_tables(R"({"version": 1, "tables": [{"name": "model_behavior_tracking",
      "key": ["id"],
      "columns": [{"name": "id", "type": "text"}, {"name": "model_id", "type": "text"},
                  {"name": "timestamp", "type": "text"},
                  {"name": "performance_metrics", "type": "json"},
                  {"name": "feature_importance", "type": "json"},
                  {"name": "drift_scores", "type": "json"},
                  {"name": "ensemble_weights", "type": "json"},
                  {"name": "metadata", "type": "json"}],
      "indices": [["model_id", "timestamp"], ["timestamp"]]}]})");
  }

  void start() override {
    if (is_enabled_) {
      host_.subscribe({"ephor.prediction", "ephor.outcome", "ephor.feature_importance",
                       "ephor.deployment", "ephor.features", "ephor.ensemble_decision",
                       "ephor.regime", "ephor.reference", "ephor.retrain_status", "ephor.tick",
                       "ephor.flush"});
    }
    provide_answers();
    show_metrics();
  }

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      try {
        take(event);
      } catch (const Error&) {
        monitor_->add_malformed();  // the rest of the slice must not be lost with it
      }
      publish_news(event);
    }
    show_metrics();
  }

  void save(const Rows& rows, std::string& state) override {
    for (const BehaviorRow& row : monitor_->table().changed_rows()) {
      const Cell importance =
          row.feature_importance.empty() ? Cell::null() : Cell::json(row.feature_importance);
      const Cell drift = row.drift_scores.empty() ? Cell::null() : Cell::json(row.drift_scores);
      rows.upsert(kTable, {Cell::text(row.id), Cell::text(row.model_id), Cell::text(row.hour),
                           Cell::json(row.performance_metrics), importance, drift, Cell::null(),
                           Cell::json(row.metadata)});
    }
    monitor_->table().set_rows_saved();
    monitor_->save(state);
  }

  bool load(std::uint32_t state_version, std::string_view state) override {
    auto loaded = std::make_unique<Monitor>(config_);
    if (state_version != kStateVersion || !loaded->load(state)) return false;
    monitor_ = std::move(loaded);
    return true;
  }

 private:
  struct ModelSeries {
    Series predictions;
    Series accuracy;
  };

  void take(const Event& event) {
    const bool is_late = (event.flags & EPHOR_EVENT_LATE) != 0;
    if (event.topic == prediction_topic_) {
      monitor_->add_prediction(reader_.prediction(event), event.time_ns, is_late,
                               event.correlation);
    } else if (event.topic == outcome_topic_) {
      monitor_->add_outcome(reader_.outcome(event), event.time_ns, is_late);
    } else if (event.topic == tick_topic_ || event.topic == flush_topic_) {
      monitor_->advance(event.time_ns);
    } else if (event.topic == features_topic_) {
      take_features(event, is_late);
    } else if (event.topic == decision_topic_) {
      take_regime(event, "regime", false, is_late);
    } else if (event.topic == regime_topic_) {
      take_regime(event, "regime_type", true, is_late);
    } else if (event.topic == importance_topic_) {
      if (tracks_importance_) take_importance(event);
    } else if (event.topic == deployment_topic_) {
      take_deployment(event);
    } else if (event.topic == reference_topic_) {
      monitor_->add_reference(
          parse_json(simdjson::minify(reader_.object(event)), "data of ephor.reference"));
    } else if (event.topic == retrain_status_topic_) {
      take_retrain_status(event);
    }
  }

  void publish_news(const Event& cause) {
    if (monitor_->findings().has_news()) monitor_->findings().publish(host_, cause);
    for (const std::string& request : monitor_->take_retrain_requests()) {
      host_.publish({.topic = "ephor.retrain", .data_json = request, .cause = &cause});
    }
  }

  void take_features(const Event& event, bool is_late) {
    std::string_view symbol;
    std::string_view timeframe;
    std::string_view model_id;
    bool has_features = false;
    values_.clear();
    const simdjson::dom::object data = reader_.object(event);
    for (const auto& [key, value] : data) {
      if (key == "symbol") {
        symbol = EventReader::text(value);
      } else if (key == "timeframe") {
        timeframe = EventReader::text(value);
      } else if (key == "model_id") {
        model_id = EventReader::text(value);
      } else if (key == "features") {
        simdjson::dom::object features;
        if (value.get(features) != simdjson::SUCCESS) continue;
        has_features = true;
        for (const auto& [name, member] : features) {
          // Whatever is no number is missing.
          const auto number = EventReader::number(member);
          values_.push_back({name, number.value_or(std::numeric_limits<double>::quiet_NaN())});
        }
      }
    }
    if (!has_features) {
      monitor_->add_malformed();
      return;
    }
    monitor_->add_features(symbol, timeframe, model_id, values_, event.time_ns, is_late);
  }

  void take_regime(const Event& event, std::string_view member, bool is_of_symbol, bool is_late) {
    const simdjson::dom::object data = reader_.object(event);
    std::string_view symbol;
    std::string_view regime;
    for (const auto& [key, value] : data) {
      if (key == "symbol")
        symbol = EventReader::text(value);
      else if (key == member)
        regime = EventReader::text(value);
    }
    monitor_->add_regime(symbol, regime, event.correlation, event.time_ns, is_of_symbol, is_late);
  }

  void take_retrain_status(const Event& event) {
    const simdjson::dom::object data = reader_.object(event);
    const auto member = [&](const char* name) {
      std::string_view text;
      return data[name].get(text) == simdjson::SUCCESS ? text : std::string_view();
    };
    monitor_->add_retrain_status(member("retrain_id"), member("model_id"), member("model_version"),
                                 member("status"), member("note"), event.time_ns);
  }

  void take_importance(const Event& event) {
    const simdjson::dom::object data = reader_.object(event);
    std::string_view model_id;
    std::string_view method;
    simdjson::dom::object importance;
    if (data["model_id"].get(model_id) != simdjson::SUCCESS ||
        data["importance"].get(importance) != simdjson::SUCCESS) {
      monitor_->add_malformed();
      return;
    }
    if (data["method"].get(method) != simdjson::SUCCESS) method = {};
    monitor_->add_feature_importance(model_id, simdjson::minify(importance), method, event.time_ns);
  }

  void take_deployment(const Event& event) {
    const simdjson::dom::object data = reader_.object(event);
    std::string_view model_id;
    std::string_view version;
    if (data["model_id"].get(model_id) != simdjson::SUCCESS ||
        data["model_version"].get(version) != simdjson::SUCCESS) {
      monitor_->add_malformed();
      return;
    }
    monitor_->add_deployment(model_id, version, event.time_ns);
  }

  void provide_answers() {
    host_.provide_query("ml_monitor.summary", "Counts of predictions, outcomes and models",
                        [this](std::string_view) { return dump(monitor_->summary()); });
    host_.provide_route({.method = "GET",
                         .path = "/api/ml/models",
                         .query = "ml_monitor.models",
                         .summary = "Scores of every model; limit, offset, from, to"},
                        [this](std::string_view text) { return models(text); });
    host_.provide_route({.method = "GET",
                         .path = "/api/ml/models/{model_id}",
                         .query = "ml_monitor.model",
                         .summary = "One model: scores by version, symbol and regime, confusion, "
                                    "reliability, detectors, findings, feature importance"},
                        [this](std::string_view text) { return model(text); });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/ml/drift",
         .query = "ml_monitor.drift",
         .summary = "Findings open and past, detectors per model, distances per "
                    "feature; limit, offset, from, to"},
        [this](std::string_view text) {
          const Json request = parse_json(text, "request");
          const Page page = page_from(request);
          return dump(monitor_->drift(page.offset, page.limit, period_from(request)));
        });
    host_.provide_route({.method = "GET",
                         .path = "/api/ml/features",
                         .query = "ml_monitor.features",
                         .summary = "Each feature now and before: counts, quantiles, KS, PSI, "
                                    "importance per model; limit, offset"},
                        [this](std::string_view text) {
                          const Page page = page_from(parse_json(text, "request"));
                          return dump(monitor_->features(page.offset, page.limit));
                        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/ml/retraining",
         .query = "ml_monitor.retraining",
         .summary = "Retraining requests and what became of them, newest first; "
                    "limit, offset, from, to"},
        [this](std::string_view text) {
          const Json request = parse_json(text, "request");
          const Page page = page_from(request);
          return dump(monitor_->retraining(page.offset, page.limit, period_from(request)));
        });
  }

  std::string models(std::string_view text) const {
    const Json request = parse_json(text, "request");
    const Page page = page_from(request);
    const Monitor::Period period = period_from(request);
    if (!period.is_given()) return dump(monitor_->models(page.offset, page.limit));
    Labels labels(config_.labels);
    return dump(
        monitor_->models_over(page.offset, page.limit, period, hours_of(period, "", labels)));
  }

  std::string model(std::string_view text) const {
    const Json request = parse_json(text, "request");
    const std::string id = request_text(request, "model_id");
    const auto found = monitor_->model(id);
    if (!found) {
      throw Error(EPHOR_NOT_FOUND, "model_id: found \"" + id + "\", expected one of /api/ml/models",
                  "/model_id");
    }
    const Monitor::Period period = period_from(request);
    if (!period.is_given()) return dump(*found);
    Labels labels(config_.labels);
    const auto figures = hours_of(period, id, labels);
    Json out = monitor_->models_over(0, 1, period, figures);
    Json answer = out["models"].empty() ? Json{{"model_id", id}} : out["models"][0];
    if (const auto of_model = figures.find(id); of_model != figures.end()) {
      of_model->second.add_detail(answer, labels);
    }
    answer["over"] = out["over"];
    answer["log_time"] = out["log_time"];
    return dump(answer);
  }

  // Figures of the hours that begin in the period, by model: the table's rows, and instead of them
  // those not written yet.
  std::map<std::string, Scores> hours_of(const Monitor::Period& period, const std::string& model_id,
                                         Labels& labels) const {
    const std::string from = period.from_ns ? rfc3339(*period.from_ns) : "";
    const std::string to = period.to_ns ? rfc3339(*period.to_ns) : "9";
    std::map<std::string, std::pair<std::string, Scores>> rows;  // by id: model, figures
    const auto keep = [&](std::string_view id, std::string_view model, std::string_view figures) {
      const Json json = Json::parse(figures, nullptr, false);
      if (!json.is_object()) return;
      rows[std::string(id)] = {std::string(model),
                               Scores::read(json.value("hour", Json()), labels)};
    };
    // Hours are texts of one length, so they sort as times.
    host_.select(
        "SELECT id, model_id, performance_metrics FROM model_behavior_tracking "
        "WHERE timestamp >= ? AND timestamp < ? AND (? = '' OR model_id = ?)",
        {Cell::text(from), Cell::text(to), Cell::text(model_id), Cell::text(model_id)},
        [&](std::span<const ephor_cell> cells) {
          if (cells.size() == 3) {
            keep(to_text(cells[0].bytes), to_text(cells[1].bytes), to_text(cells[2].bytes));
          }
        });
    for (const BehaviorRow& row : monitor_->table().changed_rows()) {
      if (row.hour < from || row.hour >= to) continue;
      if (!model_id.empty() && row.model_id != model_id) continue;
      keep(row.id, row.model_id, row.performance_metrics);
    }
    std::map<std::string, Scores> out;
    for (const auto& [id, row] : rows) out[row.first].add(row.second);
    return out;
  }

  void show_metrics() {
    for (const ModelTable::Touched& touched : monitor_->table().take_touched()) {
      const ModelSeries& series = series_of(touched.model);
      if (touched.predictions > 0) series.predictions.add(static_cast<double>(touched.predictions));
      if (const auto accuracy = monitor_->table().scores(touched.model).accuracy()) {
        series.accuracy.set(*accuracy);
      }
    }
  }

  // Models beyond the bound share the counter; an accuracy over different models would mean
  // nothing.
  const ModelSeries& series_of(std::uint32_t model) {
    const bool is_shared = model >= kMetricModelsMax || monitor_->table().other() == model;
    const std::size_t place = is_shared ? kMetricModelsMax : model;
    if (place >= series_.size()) {
      series_.resize(place + 1);
      series_made_.resize(place + 1, false);
    }
    if (!series_made_[place]) {
      const std::string labels = dump({{"model", is_shared ? std::string(ModelTable::kOtherModel)
                                                           : monitor_->table().id(model)}});
      series_[place].predictions =
          host_.counter("ephor_ml_predictions_total", "Predictions by model", labels);
      if (!is_shared) {
        series_[place].accuracy = host_.gauge(
            "ephor_ml_accuracy", "Share of right predictions by model, all time", labels);
      }
      series_made_[place] = true;
    }
    return series_[place];
  }

  Host host_;
  Monitor::Config config_;
  std::unique_ptr<Monitor> monitor_;
  EventReader reader_;
  std::vector<FeatureValue> values_;  // of the event in hand
  bool is_enabled_ = true;
  bool tracks_importance_ = true;
  std::uint16_t prediction_topic_ = 0;
  std::uint16_t outcome_topic_ = 0;
  std::uint16_t importance_topic_ = 0;
  std::uint16_t deployment_topic_ = 0;
  std::uint16_t features_topic_ = 0;
  std::uint16_t decision_topic_ = 0;
  std::uint16_t regime_topic_ = 0;
  std::uint16_t reference_topic_ = 0;
  std::uint16_t retrain_status_topic_ = 0;
  std::uint16_t tick_topic_ = 0;
  std::uint16_t flush_topic_ = 0;
  std::vector<ModelSeries> series_;  // by model index
  std::vector<bool> series_made_;
};

}  // namespace ephor::ml_monitor

using ephor::ml_monitor::MlMonitor;
EPHOR_PLUGIN(MlMonitor, "ml_monitor")
