// SPDX-License-Identifier: Apache-2.0
//
// The standard table of bare records and the reader of such tables.
//
// {"<bare type>": {
//    "let": {name: SOURCES},         variables, in order
//    "topic": SOURCES, "id": SOURCES, "time": SOURCES, "correlation": SOURCES,
//    "fields": {member of data: SOURCES},
//    "copy": SOURCES, "omit": [names],    other members that go into data, and those that do not
//    "parts": [{"at": path | "each": path, "when": SOURCES, and the keys above but let and
//    parts}]}}
//
// SOURCES is one source or an array of which the first that is there counts:
//   "a.b"        a member of the record        "@.a"  of the nested item ("@" is the item itself)
//   "@key"       the item's name or index      "$v"   a variable; $content: a hash of the record
//   "x:{a}:{@.b}"  a pattern: there only if all its values are
//   "=text"      a constant
//   {"from": SOURCE, "as": TRANSFORM, "if": SOURCE, "is": [texts]}
// Without "id" or when none is there: "<bare type>:<hash of the record>"; likewise for parts.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "ingest/bare_records.hpp"

namespace ephor::host {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kStandard = R"json({
"trace_request": {
  "topic": "=ephor.correlation_request",
  "id": ["trace_request:{correlation_id}:{status}:{response_timestamp}",
         "trace_request:{correlation_id}:{status}", "trace_request:{correlation_id}"],
  "time": "request_timestamp", "correlation": "correlation_id",
  "fields": {
    "request_timestamp": {"from": "request_timestamp", "as": "time"},
    "response_timestamp": {"from": "response_timestamp", "as": "time"},
    "component_path": {"from": "component_path", "as": "components"}},
  "copy": "", "omit": ["type", "source", "spans"],
  "parts": [{"each": "spans", "topic": "=ephor.span", "when": "@.end_time",
    "id": ["trace_span:{correlation_id}/{@.span_id}", "trace_span:{@.correlation_id}/{@.span_id}"],
    "time": "@.end_time", "correlation": ["correlation_id", "@.correlation_id"],
    "fields": {
      "trace_id": [{"from": "correlation_id", "as": "trace_id"}, {"from": "@.correlation_id", "as": "trace_id"}],
      "span_id": {"from": "@.span_id", "as": "span_id"},
      "parent_span_id": {"from": "@.parent_span_id", "as": "span_id"},
      "component": [{"from": "@.component_type", "as": "component"}, {"from": "@.component", "as": "component"}],
      "operation": ["@.operation_name", "@.operation"],
      "start_time_unix_nano": {"from": "@.start_time", "as": "nanoseconds"},
      "end_time_unix_nano": {"from": "@.end_time", "as": "nanoseconds"},
      "status": [{"from": "=error", "if": "@.error_message"},
                 {"from": "=error", "if": "@.status", "is": ["failed", "error"]},
                 {"from": "=ok", "if": "@.status", "is": ["completed", "ok"]}, "=unset"],
      "error_message": "@.error_message", "attributes": "@.metadata",
      "client_span_id": "@.span_id", "client_parent_span_id": "@.parent_span_id",
      "client_status": "@.status"},
    "copy": "@", "omit": ["component_type", "operation_name", "start_time", "end_time", "metadata", "correlation_id"]}]},

"trace_span": {
  "topic": "=ephor.span",
  "id": ["trace_span:{correlation_id}/{span_id}", "trace_span:{trace_id}/{span_id}"],
  "time": ["end_time", "timestamp"], "correlation": ["correlation_id", "metadata.correlation_id"],
  "fields": {
    "trace_id": [{"from": "trace_id", "as": "trace_id"}, {"from": "correlation_id", "as": "trace_id"}],
    "span_id": {"from": "span_id", "as": "span_id"},
    "parent_span_id": {"from": "parent_span_id", "as": "span_id"},
    "component": [{"from": "component_type", "as": "component"}, {"from": "component", "as": "component"}],
    "operation": ["operation_name", "operation"],
    "start_time_unix_nano": {"from": "start_time", "as": "nanoseconds"},
    "end_time_unix_nano": {"from": "end_time", "as": "nanoseconds"},
    "status": [{"from": "=error", "if": "error_message"},
               {"from": "=error", "if": "status", "is": ["failed", "error"]},
               {"from": "=ok", "if": "status", "is": ["completed", "ok"]}, "=unset"],
    "error_message": "error_message", "attributes": ["metadata", "attributes"],
    "client_span_id": "span_id", "client_parent_span_id": "parent_span_id", "client_status": "status"},
  "copy": "", "omit": ["type", "source", "timestamp", "component_type", "operation_name", "start_time", "end_time", "metadata", "correlation_id"]},

"correlation_request": {
  "topic": "=ephor.correlation_request",
  "id": ["correlation_request:{correlation_id}:{status}:{response_timestamp}",
         "correlation_request:{correlation_id}:{response_timestamp}",
         "correlation_request:{correlation_id}:{status}", "correlation_request:{correlation_id}"],
  "time": ["request_timestamp", "timestamp"], "correlation": "correlation_id",
  "fields": {
    "request_timestamp": [{"from": "request_timestamp", "as": "time"}, {"from": "timestamp", "as": "time"}],
    "response_timestamp": {"from": "response_timestamp", "as": "time"},
    "component_path": {"from": "component_path", "as": "components"}},
  "copy": "", "omit": ["type", "source", "timestamp"]},

"trade_record": {
  "let": {
    "trade_id": {"from": "trade_id", "as": "text"},
    "decision_id": ["decision_id", "ensemble_decision.decision_id", "execution_metadata.decision_id",
                    "decision_path.decision_metadata.decision_id",
                    {"from": "$trade_id", "if": "ensemble_decision"}],
    "correlation_id": ["correlation_id", "execution_metadata.correlation_id",
                       "decision_path.decision_metadata.correlation_id"],
    "regime": ["regime", "regime_analysis.regime_type"]},
  "topic": "=ephor.trade", "id": ["trade_record:{$trade_id}:{status}", "trade_record:{$trade_id}"],
  "time": "timestamp", "correlation": "$correlation_id",
  "fields": {
    "trade_id": "$trade_id", "decision_id": "$decision_id",
    "execution_id": ["execution_id", "execution_metadata.execution_id"],
    "order_id": [{"from": "order_id", "as": "text"}, {"from": "execution_metadata.order_id", "as": "text"}],
    "quantity": ["quantity", "size"], "regime": "$regime",
    "open_time": {"from": "timestamp", "as": "time"},
    "close_time": {"from": "close_timestamp", "as": "time"}},
  "copy": "", "omit": ["type", "source", "timestamp", "close_timestamp", "size", "ensemble_decision", "regime_analysis", "decision_path", "model_behaviors", "correlation_id"],
  "parts": [
    {"at": "ensemble_decision", "topic": "=ephor.ensemble_decision", "id": "ensemble_decision:{$decision_id}",
     "when": ["@.final_decision", "@.primary_prediction"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"decision_id": "$decision_id", "ensemble_id": ["@.ensemble_id", "=unknown"], "symbol": "symbol", "regime": "$regime"},
     "copy": "@"},
    {"each": "ensemble_decision.individual_predictions", "topic": "=ephor.prediction",
     "when": ["@.prediction", {"from": "@", "as": "scalar"}],
     "id": ["ensemble_decision:{$decision_id}/prediction/{@.model_id}", "ensemble_decision:{$decision_id}/prediction/{@.model_type}", "ensemble_decision:{$decision_id}/prediction/{@key}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {
       "prediction_id": ["@.prediction_id", "{$decision_id}:{@.model_id}", "{$decision_id}:{@.model_type}", "{$decision_id}:{@key}"],
       "decision_id": "$decision_id", "model_id": ["@.model_id", "@.model_type", "@key"],
       "prediction": ["@.prediction", {"from": "@", "as": "scalar"}],
       "ensemble_id": ["ensemble_decision.ensemble_id", "=unknown"], "symbol": "symbol", "regime": "$regime",
       "feature_importance": {"from": "@.feature_importance", "as": "importance"}},
     "copy": "@"},
    {"at": "regime_analysis", "topic": "=ephor.regime", "when": "@.regime_type",
     "id": ["regime_analysis:{$decision_id}", "regime_analysis:{$trade_id}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"symbol": ["@.symbol", "symbol"], "decision_id": "$decision_id"}, "copy": "@"},
    {"at": "decision_path", "topic": "=ephor.decision_path",
     "id": ["decision_path:{$decision_id}", "decision_path:{$trade_id}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"decision_id": ["$decision_id", "$trade_id"], "metadata": ["@.decision_metadata", "@.metadata"],
                "symbol": "symbol"},
     "copy": "@", "omit": ["decision_metadata"]},
    {"each": "model_behaviors", "topic": "=ephor.model_behavior",
     "id": ["trade_record:{$trade_id}/model_behavior/{@.model_id}", "trade_record:{$trade_id}/model_behavior/{@.model_type}", "trade_record:{$trade_id}/model_behavior/{@key}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"model_id": ["@.model_id", "@.model_type", "@key"]}, "copy": "@"}]},

"ensemble_decision": {
  "let": {
    "decision_id": ["decision_id", "ensemble_decision.decision_id", "decision_path.decision_metadata.decision_id"],
    "correlation_id": ["correlation_id", "decision_path.decision_metadata.correlation_id", "metadata.correlation_id"],
    "ensemble_id": ["ensemble_decision.ensemble_id", "ensemble_id", "=unknown"],
    "regime": ["regime", "regime_analysis.regime_type"]},
  "topic": "=ephor.ensemble_decision", "id": "ensemble_decision:{$decision_id}",
  "time": "timestamp", "correlation": "$correlation_id",
  "fields": {"decision_id": "$decision_id", "ensemble_id": "$ensemble_id", "regime": "$regime"},
  "copy": ["ensemble_decision", ""], "omit": ["type", "source", "timestamp", "ensemble_decision", "regime_analysis", "decision_path", "model_behaviors", "correlation_id"],
  "parts": [
    {"each": "ensemble_decision.individual_predictions", "topic": "=ephor.prediction",
     "when": ["@.prediction", {"from": "@", "as": "scalar"}],
     "id": ["ensemble_decision:{$decision_id}/prediction/{@.model_id}", "ensemble_decision:{$decision_id}/prediction/{@.model_type}", "ensemble_decision:{$decision_id}/prediction/{@key}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {
       "prediction_id": ["@.prediction_id", "{$decision_id}:{@.model_id}", "{$decision_id}:{@.model_type}", "{$decision_id}:{@key}"],
       "decision_id": "$decision_id", "model_id": ["@.model_id", "@.model_type", "@key"],
       "prediction": ["@.prediction", {"from": "@", "as": "scalar"}],
       "ensemble_id": "$ensemble_id", "symbol": "symbol", "regime": "$regime",
       "feature_importance": {"from": "@.feature_importance", "as": "importance"}},
     "copy": "@"},
    {"each": "individual_predictions", "topic": "=ephor.prediction",
     "when": ["@.prediction", {"from": "@", "as": "scalar"}],
     "id": ["ensemble_decision:{$decision_id}/prediction/{@.model_id}", "ensemble_decision:{$decision_id}/prediction/{@.model_type}", "ensemble_decision:{$decision_id}/prediction/{@key}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {
       "prediction_id": ["@.prediction_id", "{$decision_id}:{@.model_id}", "{$decision_id}:{@.model_type}", "{$decision_id}:{@key}"],
       "decision_id": "$decision_id", "model_id": ["@.model_id", "@.model_type", "@key"],
       "prediction": ["@.prediction", {"from": "@", "as": "scalar"}],
       "ensemble_id": "$ensemble_id", "symbol": "symbol", "regime": "$regime",
       "feature_importance": {"from": "@.feature_importance", "as": "importance"}},
     "copy": "@"},
    {"at": "regime_analysis", "topic": "=ephor.regime", "when": "@.regime_type", "id": "regime_analysis:{$decision_id}",
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"symbol": ["@.symbol", "symbol"], "decision_id": "$decision_id"}, "copy": "@"},
    {"at": "decision_path", "topic": "=ephor.decision_path", "id": "decision_path:{$decision_id}",
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"decision_id": "$decision_id", "metadata": ["@.decision_metadata", "@.metadata"], "symbol": "symbol"},
     "copy": "@", "omit": ["decision_metadata"]},
    {"each": "model_behaviors", "topic": "=ephor.model_behavior",
     "id": ["ensemble_decision:{$decision_id}/model_behavior/{@.model_id}", "ensemble_decision:{$decision_id}/model_behavior/{@.model_type}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"model_id": ["@.model_id", "@.model_type", "@key"]}, "copy": "@"}]},

"model_prediction": {
  "let": {"model_id": ["model_id", "model_type"], "time": ["timestamp", "prediction_time"]},
  "topic": "=ephor.prediction",
  "id": ["model_prediction:{prediction_id}", "ensemble_decision:{decision_id}/prediction/{$model_id}", "model_prediction:{$model_id}:{$time}"],
  "time": "$time", "correlation": ["correlation_id", "metadata.correlation_id"],
  "fields": {
    "prediction_id": ["prediction_id", "{decision_id}:{$model_id}", "{$model_id}:{$time}", "{$model_id}:{$content}"],
    "model_id": "$model_id", "feature_importance": {"from": "feature_importance", "as": "importance"}},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"regime_analysis": {
  "topic": "=ephor.regime", "id": ["regime_analysis:{analysis_id}", "regime_analysis:{decision_id}"],
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {"regime_type": ["regime_type", "regime"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"regime_transition": {
  "topic": "=ephor.regime_transition", "id": "regime_transition:{transition_id}",
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {"transition_id": {"from": "transition_id", "as": "text"}},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"decision_path": {
  "let": {"decision_id": ["decision_id", "decision_metadata.decision_id"],
          "correlation_id": ["correlation_id", "decision_metadata.correlation_id"]},
  "topic": "=ephor.decision_path", "id": "decision_path:{$decision_id}",
  "time": "timestamp", "correlation": "$correlation_id",
  "fields": {"decision_id": ["$decision_id", "$correlation_id"], "metadata": ["decision_metadata", "metadata"]},
  "copy": "", "omit": ["type", "source", "timestamp", "decision_metadata", "correlation_id"]},

"model_behavior": {
  "topic": "=ephor.model_behavior",
  "id": ["model_behavior:{model_id}:{timestamp}", "model_behavior:{model_type}:{timestamp}"],
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {"model_id": ["model_id", "model_type"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"feature_importance": {
  "topic": "=ephor.feature_importance",
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {
    "model_id": ["model_id", "model_type"],
    "importance": [{"from": "importance", "as": "importance"}, {"from": "feature_importance", "as": "importance"},
                   {"from": "features", "as": "importance"}, {"from": "", "as": "importance", "if": "feature_name"}]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id", "feature_importance"]},

"trade_decision_context": {
  "let": {"correlation_id": ["correlation_id", "metadata.correlation_id"]},
  "topic": "=ephor.ensemble_decision", "id": "trade_decision_context:{decision_id}",
  "time": "timestamp", "correlation": "$correlation_id",
  "fields": {
    "ensemble_id": ["ensemble_id", "=unknown"],
    "final_decision": ["final_decision", "recommended_action", "final_prediction"],
    "primary_prediction": ["primary_prediction", "final_prediction"],
    "primary_confidence": ["primary_confidence", "final_confidence"],
    "individual_predictions": ["individual_predictions", "ensemble_predictions"],
    "regime": ["regime", "current_regime"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id", "ensemble_predictions", "timeframe_features"],
  "parts": [
    {"each": "ensemble_predictions", "topic": "=ephor.prediction",
     "when": ["@.prediction", {"from": "@", "as": "scalar"}],
     "id": ["ensemble_decision:{decision_id}/prediction/{@.model_id}", "ensemble_decision:{decision_id}/prediction/{@.model_type}", "ensemble_decision:{decision_id}/prediction/{@key}"],
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {
       "prediction_id": ["@.prediction_id", "{decision_id}:{@.model_id}", "{decision_id}:{@.model_type}", "{decision_id}:{@key}"],
       "decision_id": "decision_id", "model_id": ["@.model_id", "@.model_type", "@key"],
       "prediction": ["@.prediction", {"from": "@", "as": "scalar"}],
       "ensemble_id": ["ensemble_id", "=unknown"], "symbol": "symbol", "regime": "current_regime",
       "feature_importance": {"from": "@.feature_importance", "as": "importance"}},
     "copy": "@"},
    {"at": "", "when": "current_regime", "topic": "=ephor.regime", "id": "regime_analysis:{decision_id}",
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"regime_type": "current_regime", "regime_confidence": "regime_confidence", "symbol": "symbol", "decision_id": "decision_id"}},
    {"each": "timeframe_features", "topic": "=ephor.features",
     "id": "trade_decision_context:{decision_id}/features/{@key}",
     "time": "timestamp", "correlation": "$correlation_id",
     "fields": {"features": "@", "timeframe": "@key", "symbol": "symbol", "decision_id": "decision_id"}}]},

"trade_execution": {
  "let": {"execution_id": {"from": "execution_id", "as": "text"}},
  "topic": [{"from": "=ephor.fill", "if": "status", "is": ["filled", "partially_filled", "closed"]}, "=ephor.order"],
  "id": ["trade_execution:{$execution_id}:{status}", "trade_execution:{$execution_id}"],
  "time": ["timestamp", "execution_time"], "correlation": ["correlation_id", "execution_metadata.correlation_id", "metadata.correlation_id"],
  "fields": {
    "execution_id": "$execution_id",
    "order_id": [{"from": "order_id", "as": "text"}, "$execution_id"],
    "trade_id": {"from": "trade_id", "as": "text"},
    "price": [{"from": "average_execution_price", "if": "status", "is": ["filled", "partially_filled", "closed"]}, "price"],
    "quantity": [{"from": "executed_quantity", "if": "status", "is": ["filled", "partially_filled", "closed"]}, "quantity", "size"],
    "requested_price": "price", "requested_quantity": ["quantity", "size"],
    "fee": ["fee", "commission"],
    "status": [{"from": "=filled", "if": "status", "is": ["closed"]}, "status"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id", "commission", "size"]},

"trade_outcome": {
  "topic": "=ephor.trade_outcome", "id": ["trade_outcome:{trade_id}", "trade_outcome:{execution_id}"],
  "time": ["timestamp", "exit_time"], "correlation": "correlation_id",
  "fields": {"trade_id": {"from": "trade_id", "as": "text"}},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"outcome": {
  "topic": "=ephor.outcome",
  "id": ["outcome:{prediction_id}", "outcome:{decision_id}/{model_id}", "outcome:{decision_id}"],
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {"actual": ["actual", "actual_outcome", "outcome"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id", "actual_outcome", "outcome"]},

"metric_point": {
  "topic": "=ephor.metric",
  "time": "timestamp", "correlation": ["correlation_id", "labels.correlation_id"],
  "fields": {"name": ["name", "metric_name"], "value": ["value", "metric_value"], "labels": ["labels", "tags"],
             "kind": [{"from": "kind", "is": ["gauge", "counter", "histogram"], "if": "kind"},
                      {"from": "metric_type", "is": ["gauge", "counter", "histogram"], "if": "metric_type"}]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id", "metric_name", "metric_value", "tags", "metric_type", "kind"]},

"drift_alert": {
  "topic": "=ephor.drift_alert", "id": "drift_alert:{alert_id}",
  "time": ["timestamp", "detection_time"], "correlation": "correlation_id",
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]},

"model_performance": {
  "topic": "=ephor.model_performance", "id": ["model_performance:{model_id}:{timestamp}", "model_performance:{model_type}:{timestamp}"],
  "time": "timestamp", "correlation": "correlation_id",
  "fields": {"model_id": ["model_id", "model_type"]},
  "copy": "", "omit": ["type", "source", "timestamp", "correlation_id"]}
})json";

class TableReader {
 public:
  explicit TableReader(std::string where) : where_(std::move(where)) {}

  BareRecord record(const ordered_json& json) const {
    check_keys(json,
               {"let", "topic", "id", "time", "correlation", "fields", "copy", "omit", "parts"});
    BareRecord record;
    if (json.contains("let")) record.variables = below("let").fields(json["let"]);
    record.primary = event(json);
    if (!json.contains("parts")) return record;
    const TableReader parts = below("parts");
    if (!json["parts"].is_array()) parts.fail(json["parts"], "an array of objects");
    for (std::size_t i = 0; i < json["parts"].size(); ++i) {
      record.parts.push_back(parts.below(std::to_string(i)).part(json["parts"][i]));
    }
    return record;
  }

 private:
  [[noreturn]] void fail(const ordered_json& found, std::string_view expected) const {
    throw HostError(EPHOR_INVALID, where_ + ": found " + found.dump().substr(0, 80) +
                                       ", expected " + std::string(expected));
  }
  TableReader below(std::string_view key) const {
    return TableReader(where_ + "." + std::string(key));
  }

  void check_keys(const ordered_json& json, std::initializer_list<std::string_view> known) const {
    if (!json.is_object()) fail(json, "an object");
    for (const auto& item : json.items()) {
      if (std::ranges::find(known, std::string_view(item.key())) != known.end()) continue;
      std::string expected = "one of the keys";
      for (const std::string_view name : known) expected += " " + std::string(name);
      fail(item.key(), expected);
    }
  }

  BareEvent part(const ordered_json& json) const {
    check_keys(json, {"at", "each", "when", "topic", "id", "time", "correlation", "fields", "copy",
                      "omit"});
    BareEvent part = event(json);
    if (json.contains("at") == json.contains("each")) fail(json, "either \"at\" or \"each\"");
    // An empty path is a path too: a part "at" the record itself.
    if (json.contains("at")) {
      part.at = path_of(below("at").text(json["at"]));
      if (part.at.empty()) part.at = {""};
    }
    if (json.contains("each")) part.each = path_of(below("each").text(json["each"]));
    return part;
  }

  BareEvent event(const ordered_json& json) const {
    BareEvent event;
    const auto read = [&](const char* key, BareSources& target) {
      if (json.contains(key)) target = below(key).sources(json[key]);
    };
    read("topic", event.topic);
    read("id", event.id);
    read("time", event.time);
    read("correlation", event.correlation);
    read("when", event.when);
    read("copy", event.copy);
    if (event.topic.empty()) fail(json, "a \"topic\"");
    if (json.contains("fields")) event.fields = below("fields").fields(json["fields"]);
    if (json.contains("omit")) {
      if (!json["omit"].is_array()) below("omit").fail(json["omit"], "an array of names");
      for (const auto& name : json["omit"]) event.omit.push_back(below("omit").text(name));
    }
    return event;
  }

  std::vector<BareField> fields(const ordered_json& json) const {
    if (!json.is_object()) fail(json, "an object");
    std::vector<BareField> fields;
    for (const auto& item : json.items()) {
      fields.push_back({item.key(), below(item.key()).sources(item.value())});
    }
    return fields;
  }

  BareSources sources(const ordered_json& json) const {
    BareSources sources;
    if (!json.is_array()) {
      sources.push_back(source(json));
      return sources;
    }
    for (const auto& item : json) sources.push_back(source(item));
    return sources;
  }

  BareSource source(const ordered_json& json) const {
    if (json.is_string()) return text_source(json.get<std::string>());
    check_keys(json, {"from", "as", "if", "is"});
    if (!json.contains("from")) fail(json, "a text, or an object with \"from\"");
    BareSource source = text_source(below("from").text(json["from"]));
    if (json.contains("as")) source.transform = below("as").transform(json["as"]);
    if (json.contains("if")) {
      source.condition = std::make_unique<BareSource>(text_source(below("if").text(json["if"])));
    }
    if (json.contains("is")) {
      if (!json.contains("if") || !json["is"].is_array()) {
        below("is").fail(json["is"], "an array of texts beside an \"if\"");
      }
      for (const auto& text_json : json["is"]) {
        source.condition_values.push_back(below("is").text(text_json));
      }
    }
    return source;
  }

  BareTransform transform(const ordered_json& json) const {
    constexpr std::pair<std::string_view, BareTransform> kNames[] = {
        {"text", BareTransform::text},
        {"component", BareTransform::component},
        {"components", BareTransform::components},
        {"trace_id", BareTransform::trace_id},
        {"span_id", BareTransform::span_id},
        {"nanoseconds", BareTransform::nanoseconds},
        {"time", BareTransform::time},
        {"importance", BareTransform::importance},
        {"scalar", BareTransform::scalar}};
    const std::string name = text(json);
    for (const auto& [known, value] : kNames) {
      if (known == name) return value;
    }
    std::string expected = "one of";
    for (const auto& known : kNames) expected += " " + std::string(known.first);
    fail(json, expected);
  }

  std::string text(const ordered_json& json) const {
    if (!json.is_string()) fail(json, "text");
    return json.get<std::string>();
  }

  static std::vector<std::string> path_of(std::string_view text) {
    std::vector<std::string> path;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('.'), text.size());
      path.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return path;
  }

  BareSource text_source(const std::string& text) const {
    BareSource source;
    source.text = text;
    if (text.starts_with('=')) {
      source.kind = BareSource::Kind::constant;
      source.text = text.substr(1);
    } else if (text.find('{') != std::string::npos) {
      source.kind = BareSource::Kind::pattern;
      read_pattern(text, source);
    } else if (text.starts_with('$')) {
      source.kind = BareSource::Kind::variable;
      source.text = text.substr(1);
    } else if (text == "@key") {
      source.kind = BareSource::Kind::item_key;
    } else if (text == "@" || text.starts_with("@.")) {
      source.kind = BareSource::Kind::item_path;
      source.path = path_of(text.size() > 2 ? text.substr(2) : "");
    } else {
      source.path = path_of(text);
    }
    return source;
  }

  void read_pattern(std::string_view text, BareSource& source) const {
    std::string before;
    while (!text.empty()) {
      const std::size_t open = std::min(text.find('{'), text.size());
      before += text.substr(0, open);
      text.remove_prefix(open);
      if (text.empty()) break;
      const std::size_t close = text.find('}');
      if (close == std::string_view::npos) fail(source.text, "a '}' behind each '{'");
      source.pieces.emplace_back(before, std::make_unique<BareSource>(
                                             text_source(std::string(text.substr(1, close - 1)))));
      before.clear();
      text.remove_prefix(close + 1);
    }
    if (!before.empty()) source.pieces.emplace_back(before, nullptr);
  }

  std::string where_;
};

}  // namespace

std::string_view standard_bare_mapping() { return kStandard; }

void BareMapping::load(const std::string& json_text, const std::string& where) {
  const ordered_json table = ordered_json::parse(json_text, nullptr, false);
  if (!table.is_object()) {
    throw HostError(EPHOR_INVALID, where + ": found no JSON object, expected {bare type: mapping}");
  }
  for (const auto& item : table.items()) {
    records_.erase(item.key());
    if (item.value().is_null()) continue;
    records_.emplace(item.key(), TableReader(where + "." + item.key()).record(item.value()));
  }
}

std::shared_ptr<const BareMapping> BareMapping::standard() {
  static const std::shared_ptr<const BareMapping> kTable =
      standard_with("{}", "ingest.bare_records");
  return kTable;
}

std::shared_ptr<const BareMapping> BareMapping::standard_with(const std::string& overrides_json,
                                                              const std::string& where) {
  auto mapping = std::make_shared<BareMapping>();
  mapping->load(std::string(kStandard), "standard bare records");
  mapping->load(overrides_json, where);
  return mapping;
}

const BareRecord* BareMapping::find(std::string_view type) const {
  const auto found = records_.find(type);
  return found == records_.end() ? nullptr : &found->second;
}

std::string BareMapping::type_names() const {
  std::string names;
  for (const auto& [name, unused] : records_) {
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names;
}

}  // namespace ephor::host
