// SPDX-License-Identifier: Apache-2.0
#include "check/traffic.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <array>

#include "bus/topic_filter.hpp"
#include "check/checking_host.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

using Json = nlohmann::json;

constexpr std::array kDocumented{"ephor.span",
                                 "ephor.metric",
                                 "ephor.metric_batch",
                                 "ephor.features",
                                 "ephor.prediction",
                                 "ephor.outcome",
                                 "ephor.feature_importance",
                                 "ephor.ensemble_decision",
                                 "ephor.regime",
                                 "ephor.decision_path",
                                 "ephor.trade",
                                 "ephor.order",
                                 "ephor.fill",
                                 "ephor.model_behavior",
                                 "ephor.market",
                                 "ephor.log",
                                 "ephor.benchmark",
                                 "ephor.deployment",
                                 "ephor.retrain_status",
                                 "ephor.tick",
                                 "ephor.flush",
                                 "ephor.plugin",
                                 "ephor.deadletter",
                                 "ephor.drift",
                                 "ephor.finding"};
constexpr std::array kOfTheHost{"ephor.tick", "ephor.flush", "ephor.plugin", "ephor.deadletter"};

template <typename List>
bool contains(const List& list, std::string_view topic) {
  return std::find(list.begin(), list.end(), topic) != list.end();
}

std::string hex(std::uint64_t number, int digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out(static_cast<std::size_t>(digits), '0');
  for (int i = digits - 1; i >= 0 && number != 0; --i, number >>= 4) {
    out[static_cast<std::size_t>(i)] = kDigits[number & 15];
  }
  return out;
}

std::string numbered(const char* prefix, std::uint64_t number) {
  return prefix + std::to_string(number);
}

// A number in [0, 1) that looks random and is the same everywhere.
double wobble(std::uint64_t turn) {
  std::uint64_t x = turn * 0x9E3779B97F4A7C15ULL;
  x ^= x >> 31;
  x *= 0xBF58476D1CE4E5B9ULL;
  return static_cast<double>((x >> 11) & 0xFFFFF) / 1048576.0;
}

Json order(std::uint64_t id, double w) {
  return {{"order_id", numbered("o-", id)},
          {"symbol", numbered("SYM", id % 5)},
          {"side", id % 2 == 0 ? "buy" : "sell"},
          {"quantity", 1.0 + w},
          {"status", id % 3 == 0 ? "filled" : "open"},
          {"execution_id", numbered("x-", id)},
          {"decision_id", numbered("d-", id)},
          {"fee", 0.01}};
}

Json finding(std::string_view topic, std::uint64_t id, std::int64_t time_ns) {
  const std::string target = numbered("m-", id % 3);
  return {{"finding_id", "other:feature_drift:" + target + ":" + std::to_string(id)},
          {"kind", topic == "ephor.drift" ? "feature_drift" : "error_burst"},
          {"target", target},
          {"target_kind", "model"},
          {"state", id % 2 == 0 ? "open" : "closed"},
          {"severity", id % 3 == 0 ? "critical" : "warning"},
          {"onset", format_time(time_ns)},
          {"detected", format_time(time_ns)},
          {"closed", id % 2 == 0 ? Json() : Json(format_time(time_ns))},
          {"summary", "The mean of feature f1 rose from 0.1 to 0.7."},
          {"evidence", {{"statistic", 0.7}, {"limit", 0.2}}}};
}

}  // namespace

bool Traffic::is_documented(std::string_view topic) { return contains(kDocumented, topic); }

Traffic::Traffic(const std::vector<std::string>& patterns) {
  const auto is_wanted = [&](std::string_view topic) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& one) { return topic_matches(one, topic); });
  };
  for (const char* topic : kDocumented) {
    if (is_wanted(topic)) topics_.emplace_back(topic);
  }
  for (std::string topic : patterns) {
    // A topic that the pattern matches.
    for (std::size_t at = 0; (at = topic.find_first_of("*>", at)) != std::string::npos; ++at) {
      topic[at] = 'x';
    }
    if (!contains(topics_, topic)) topics_.push_back(std::move(topic));
  }
}

Json Traffic::data_of(std::string_view topic, std::uint64_t turn, std::int64_t time_ns) {
  const std::uint64_t id = turn % kCycle;
  const double w = wobble(turn);
  const std::string decision = numbered("d-", id);
  const std::string model = numbered("m-", id % 3);
  if (topic == "ephor.span") {
    Json span{{"trace_id", hex(id / 4 + 1, 32)},
              {"span_id", hex(id + 1, 16)},
              {"component", numbered("component-", id % 4)},
              {"operation", "work"},
              {"start_time_unix_nano", time_ns - 2'000'000},
              {"end_time_unix_nano", time_ns - 1'000'000 + static_cast<std::int64_t>(w * 900'000)},
              {"status", id % 17 == 0 ? "error" : "ok"},
              {"attributes", {{"http.status", 200}, {"peer", "a"}}}};
    if (id % 4 != 0) span["parent_span_id"] = hex(id - id % 4 + 1, 16);
    if (id % 17 == 0) span["error_message"] = "no route to host";
    return span;
  }
  if (topic == "ephor.metric") {
    return {{"name", numbered("latency_", id % 4)},
            {"value", 10.0 * w},
            {"unit", "ms"},
            {"labels", {{"host", numbered("h", id % 2)}}},
            {"kind", "gauge"}};
  }
  if (topic == "ephor.metric_batch") {
    const Json host{{"name", "host"}, {"values", {"h0", "h1"}}, {"deltas", {0, 1}}};
    const Json lag{{"name", "lag"}, {"unit", "ms"}, {"scale", 1}, {"integers", {id % 50, 7, 9}}};
    const Json table{{"labels", Json::array({host})},
                     {"rows", {2, 1}},
                     {"times", {{"unit_ns", 1}, {"deltas", {time_ns - 5, 5, -3}}}},
                     {"columns", Json::array({lag})}};
    return {{"tables", Json::array({table})}};
  }
  if (topic == "ephor.features") {
    return {{"features", {{"f1", w}, {"f2", 1.0 - w}}},
            {"prediction_id", numbered("p-", id)},
            {"model_id", model}};
  }
  if (topic == "ephor.prediction") {
    return {{"prediction_id", numbered("p-", id)},
            {"model_id", model},
            {"prediction", w > 0.5 ? "buy" : "sell"},
            {"confidence", 0.5 + w / 2},
            {"probability", {{"buy", w}, {"sell", 1.0 - w}}},
            {"features", {{"f1", w}, {"f2", 2 * w}}},
            {"decision_id", decision},
            {"ensemble_id", "e-1"},
            {"symbol", "SYM1"}};
  }
  if (topic == "ephor.outcome") {
    return {{"prediction_id", numbered("p-", id)},
            {"decision_id", decision},
            {"actual", w > 0.4 ? "buy" : "sell"},
            {"realized_return", w - 0.5},
            {"horizon_s", 60}};
  }
  if (topic == "ephor.feature_importance") {
    return {{"model_id", model}, {"importance", {{"f1", w}, {"f2", 1.0 - w}}}, {"method", "shap"}};
  }
  if (topic == "ephor.ensemble_decision") {
    return {{"decision_id", decision},
            {"ensemble_id", "e-1"},
            {"final_decision", w > 0.5 ? "buy" : "sell"},
            {"individual_predictions", {{"m-0", "buy"}, {"m-1", "sell"}, {"m-2", "buy"}}},
            {"ensemble_weights", {{"m-0", 0.5}, {"m-1", 0.25}, {"m-2", 0.25}}},
            {"consensus_level", w},
            {"regime", id % 2 == 0 ? "calm" : "wild"}};
  }
  if (topic == "ephor.regime") {
    return {{"regime_type", id / 20 % 2 == 0 ? "calm" : "wild"},
            {"symbol", "SYM1"},
            {"regime_confidence", w},
            {"regime_probabilities", {{"calm", w}, {"wild", 1.0 - w}}}};
  }
  if (topic == "ephor.decision_path") {
    return {{"decision_id", decision},
            {"decision_steps", {"look", "weigh", "act"}},
            {"decision_reasons", {"trend"}},
            {"decision_weights", {{"trend", w}}},
            {"decision_thresholds", {{"trend", 0.5}}}};
  }
  if (topic == "ephor.trade") {
    const bool is_closed = turn / kCycle % 2 == 1;
    Json trade{{"trade_id", numbered("t-", id)},
               {"decision_id", decision},
               {"symbol", numbered("SYM", id % 5)},
               {"side", id % 2 == 0 ? "buy" : "sell"},
               {"quantity", 1.0 + w},
               {"price", 100.0 + w},
               {"fees", 0.1},
               {"status", is_closed ? "closed" : "open"}};
    if (is_closed) trade["close_price"] = 100.5 + w;
    if (is_closed) trade["pnl"] = 0.5;
    return trade;
  }
  if (topic == "ephor.order") return order(id, w);
  if (topic == "ephor.fill") {
    Json fill = order(id, w);
    fill["price"] = 100.0 + w;
    return fill;
  }
  if (topic == "ephor.model_behavior") {
    return {{"model_id", model},
            {"prediction_consistency", w},
            {"prediction_drift", w / 10},
            {"confidence_trend", {0.1, 0.2}}};
  }
  if (topic == "ephor.market") {
    return {{"symbol", numbered("SYM", id % 5)}, {"price", 100.0 + w}, {"volume", 10.0}};
  }
  if (topic == "ephor.log") {
    return {{"severity", id % 9 == 0 ? "error" : "info"}, {"body", "something happened"}};
  }
  if (topic == "ephor.benchmark") return {{"name", "index"}, {"price", 1000.0 + w}};
  if (topic == "ephor.deployment") {
    return {{"model_id", model}, {"model_version", numbered("v", id / 50)}};
  }
  if (topic == "ephor.retrain_status") {
    return {{"retrain_id", numbered("r-", id)}, {"status", "requested"}, {"model_id", model}};
  }
  if (topic == "ephor.tick" || topic == "ephor.flush") return {{"log_time", format_time(time_ns)}};
  if (topic == "ephor.plugin") {
    return {{"instance", "other"},
            {"plugin", "other"},
            {"version", "1.0.0"},
            {"state", "running"},
            {"reason", "started"}};
  }
  if (topic == "ephor.deadletter") {
    return {{"instance", "other"},
            {"plugin", "other"},
            {"first_sequence", sequence_of(turn)},
            {"last_sequence", sequence_of(turn)},
            {"events", 1},
            {"attempts", 3},
            {"error", "it could not be handled"},
            {"event", {{"id", "1"}, {"source", "client"}, {"type", "x"}}}};
  }
  if (topic == "ephor.drift" || topic == "ephor.finding") return finding(topic, id, time_ns);
  return {{"id", numbered("i-", id)}, {"value", w}, {"text", "a"}, {"list", {1, 2}}};
}

void Traffic::add_with(EventSlice& slice, std::string_view topic, std::uint64_t number,
                       std::string_view data_json, std::int64_t time_ns, std::uint8_t flags,
                       std::uint64_t sequence) {
  const bool is_of_the_host = contains(kOfTheHost, topic);
  const std::string source = is_of_the_host ? "ephor" : "client";
  EventSlice::Made made{
      .topic = std::string(topic),
      .sequence = sequence != 0 ? sequence : sequence_of(number),
      .time_ns = time_ns,
      .source = source,
      .correlation_id = is_of_the_host ? "" : numbered("c-", number % kCycle),
      .flags = static_cast<std::uint8_t>(flags | (is_of_the_host ? EPHOR_EVENT_HOST : 0U))};
  std::string record = R"({"specversion":"1.0","id":")" + std::to_string(number) +
                       R"(","source":")" + source + R"(","type":")" + made.topic + R"(","time":")" +
                       format_time(time_ns) + '"';
  if (!made.correlation_id.empty()) {
    record += R"(,"correlationid":")" + made.correlation_id + '"';
  }
  record += R"(,"data":)";
  const auto offset = static_cast<std::uint32_t>(record.size());
  record += data_json;
  slice.add_raw(record + "}", offset, made);
}

void Traffic::add(EventSlice& slice, std::uint64_t number) const {
  const std::string& topic = topics_[number % topics_.size()];
  const std::int64_t time_ns = time_of(number);
  add_with(slice, topic, number, data_of(topic, number / topics_.size(), time_ns).dump(), time_ns);
}

EventSlice Traffic::slice(CheckingHost& host, std::uint64_t from, std::uint64_t count) const {
  EventSlice out(host);
  for (std::uint64_t i = 0; i < count; ++i) add(out, from + i);
  return out;
}

// Wire format: tag = field << 3 | kind; kind 1: eight bytes, 2: a length and its bytes, 0: varint.
std::string otlp_span(std::uint64_t turn, std::int64_t time_ns) {
  std::string out;
  const auto bytes = [&](int field, std::string_view value) {
    out += static_cast<char>(field << 3 | 2);
    out += static_cast<char>(value.size());  // all below 128
    out += value;
  };
  const auto fixed = [&](int field, std::uint64_t value) {
    out += static_cast<char>(field << 3 | 1);
    for (int i = 0; i < 8; ++i, value >>= 8) out += static_cast<char>(value & 0xFF);
  };
  std::string trace(16, '\1');
  std::string span(8, '\2');
  trace[15] = static_cast<char>(1 + turn % 100);
  span[7] = static_cast<char>(1 + turn % 100);
  bytes(1, trace);
  bytes(2, span);
  bytes(5, "work");
  out += static_cast<char>(6 << 3);  // kind: server
  out += '\2';
  fixed(7, static_cast<std::uint64_t>(time_ns - 2'000'000));
  fixed(8, static_cast<std::uint64_t>(time_ns - 1'000'000));
  bytes(9, std::string_view("\x0A\x01k\x12\x03\x0A\x01v", 8));  // attribute k = "v"
  bytes(15, std::string_view("\x18\x01", 2));                   // status: ok
  return out;
}

}  // namespace ephor::host::check
