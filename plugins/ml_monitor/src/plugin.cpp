// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <memory>
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

Monitor::Config config_from(const Json& json) {
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
  return config;
}

}  // namespace

class MlMonitor final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "Joins predictions with their outcomes: accuracy, Brier score and log loss per model";
  static constexpr std::uint32_t kStateVersion = 1;
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
        "description": "Keep the latest feature importance of each model"}
    }
  })";

  MlMonitor(Host host, std::string_view config_text) : host_(std::move(host)) {
    const Json config = parse_json(config_text, "configuration of ml_monitor");
    config_ = config_from(config);
    monitor_ = std::make_unique<Monitor>(config_);
    is_enabled_ = member_or(config, "enable", true);
    tracks_importance_ = member_or(config, "feature_importance_tracking", true);
    prediction_topic_ = host_.topic_id("ephor.prediction");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    importance_topic_ = host_.topic_id("ephor.feature_importance");
    deployment_topic_ = host_.topic_id("ephor.deployment");
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
                       "ephor.deployment", "ephor.tick", "ephor.flush"});
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
    }
    show_metrics();
  }

  void save(const Rows& rows, std::string& state) override {
    for (const BehaviorRow& row : monitor_->table().changed_rows()) {
      const Cell importance =
          row.feature_importance.empty() ? Cell::null() : Cell::json(row.feature_importance);
      rows.upsert(kTable, {Cell::text(row.id), Cell::text(row.model_id), Cell::text(row.hour),
                           Cell::json(row.performance_metrics), importance, Cell::null(),
                           Cell::null(), Cell::json(row.metadata)});
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
      monitor_->add_prediction(reader_.prediction(event), event.time_ns, is_late);
    } else if (event.topic == outcome_topic_) {
      monitor_->add_outcome(reader_.outcome(event), event.time_ns, is_late);
    } else if (event.topic == tick_topic_ || event.topic == flush_topic_) {
      monitor_->advance(event.time_ns);
    } else if (event.topic == importance_topic_) {
      if (tracks_importance_) take_importance(event);
    } else if (event.topic == deployment_topic_) {
      take_deployment(event);
    }
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
                         .summary = "Accuracy and scores of every model; limit, offset"},
                        [this](std::string_view text) {
                          const Json request = parse_json(text, "request");
                          const auto limit = request_integer(request, "limit", 200, 1, 10'000);
                          const auto offset =
                              request_integer(request, "offset", 0, 0, 1'000'000'000);
                          return dump(monitor_->models(static_cast<std::size_t>(offset),
                                                       static_cast<std::size_t>(limit)));
                        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/ml/models/{model_id}",
         .query = "ml_monitor.model",
         .summary = "One model: scores by version and symbol, confusion, feature importance"},
        [this](std::string_view text) {
          const std::string id = request_text(parse_json(text, "request"), "model_id");
          const auto found = monitor_->model(id);
          if (!found) {
            throw Error(EPHOR_NOT_FOUND,
                        "model_id: found \"" + id + "\", expected one of /api/ml/models",
                        "/model_id");
          }
          return dump(*found);
        });
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
  bool is_enabled_ = true;
  bool tracks_importance_ = true;
  std::uint16_t prediction_topic_ = 0;
  std::uint16_t outcome_topic_ = 0;
  std::uint16_t importance_topic_ = 0;
  std::uint16_t deployment_topic_ = 0;
  std::uint16_t tick_topic_ = 0;
  std::uint16_t flush_topic_ = 0;
  std::vector<ModelSeries> series_;  // by model index
  std::vector<bool> series_made_;
};

}  // namespace ephor::ml_monitor

using ephor::ml_monitor::MlMonitor;
EPHOR_PLUGIN(MlMonitor, "ml_monitor")
