// SPDX-License-Identifier: Apache-2.0
//
// Answers of other plugins as they look, small enough to reckon with by hand.
#pragma once

#include <ephor/json.hpp>
#include <string>
#include <string_view>

#include "sources.hpp"

namespace ephor::reporter::testing {

inline constexpr std::int64_t kDayNs = 86'400'000'000'000;
inline const std::int64_t kFrom = *parse_time("2017-11-08T00:00:00Z");

inline Window window_of_day() {
  Window window;
  window.from_ns = kFrom;
  window.to_ns = kFrom + kDayNs;
  window.previous_from_ns = kFrom - kDayNs;
  return window;
}

// Three trades: +10, -4, +1 (the day); one of -5 (the day before).
inline std::string performance_answer(std::string_view request) {
  const Json asked = Json::parse(request);
  const bool is_day = asked["from"] == "2017-11-08T00:00:00Z";
  const Json group =
      is_day
          ? Json{{"trades", 3},
                 {"closed", 3},
                 {"closed_without_pnl", 0},
                 {"won", 2},
                 {"lost", 1},
                 {"pnl", 7.0},
                 {"profit_factor", 2.75},
                 {"expectancy", 7.0 / 3},
                 {"win_rate", 2.0 / 3}}
          : Json{{"trades", 1},    {"closed", 1}, {"closed_without_pnl", 0}, {"won", 0},
                 {"lost", 1},      {"pnl", -5.0}, {"profit_factor", 0.0},    {"expectancy", -5.0},
                 {"win_rate", 0.0}};
  Json out = group;
  out["over"] = {{"from", asked["from"]}, {"to", asked["to"]}};
  out["fees"] = 0.5;
  out["max_drawdown"] = {{"amount", is_day ? 4.0 : 5.0},
                         {"peak", "2017-11-08T01:00:00Z"},
                         {"trough", "2017-11-08T02:00:00Z"}};
  out["by_regime"] = {{"<b>bull</b>", group}};
  out["by_symbol"] = {{"BTCUSDT", group}};
  out["by_side"] = {{"buy", group}};
  out["by_close_reason"] = {{"horizon", group}};
  out["equity_curve"] = Json::array();
  if (is_day) {
    for (const auto& [time, pnl] :
         {std::pair("2017-11-08T01:00:00Z", 10.0), std::pair("2017-11-08T02:00:00Z", 6.0),
          std::pair("2017-11-08T03:00:00Z", 7.0)}) {
      out["equity_curve"].push_back({{"time", time}, {"pnl", pnl}});
    }
  }
  return out.dump();
}

inline std::string trades_answer(std::string_view) {
  Json trades = Json::array();
  const auto add = [&](const char* id, const char* time, double pnl) {
    trades.push_back({{"trade_id", id},
                      {"open_time", "2017-11-08T00:30:00Z"},
                      {"close_time", time},
                      {"symbol", "BTCUSDT"},
                      {"side", "buy"},
                      {"close_reason", "horizon"},
                      {"pnl", pnl}});
  };
  add("t1", "2017-11-08T01:00:00Z", 10.0);
  add("t2", "2017-11-08T02:00:00Z", -4.0);
  add("t3", "2017-11-08T03:00:00Z", 1.0);
  add("of another day", "2017-11-09T00:00:00Z", 100.0);
  return Json{{"trades", trades}, {"next_cursor", nullptr}}.dump();
}

inline std::string models_answer(std::string_view request) {
  const Json asked = Json::parse(request);
  const bool is_day = asked["from"] == "2017-11-08T00:00:00Z";
  const Json model{
      {"model_id", "m1"},   {"model_version", "1.0.0"},      {"outcomes_joined", 400},
      {"scored", 400},      {"correct", is_day ? 240 : 160}, {"accuracy", is_day ? 0.6 : 0.4},
      {"brier_score", 0.5}, {"mean_confidence", 0.55},       {"window", {{"accuracy", 0.58}}}};
  return Json{{"models", Json::array({model})},
              {"models_total", 1},
              {"joining", {{"predictions", 800}, {"joined", 790}}},
              {"over", {{"from", asked["from"]}, {"to", asked["to"]}}}}
      .dump();
}

inline std::string summary_answer(std::string_view) {
  const auto finding = [](const char* id, const char* state, const char* severity,
                          const char* detected, const Json& closed) {
    return Json{{"finding_id", id},        {"kind", "latency_regression"},
                {"target", "tactician/x"}, {"state", state},
                {"severity", severity},    {"onset", detected},
                {"detected", detected},    {"closed", closed},
                {"summary", "p95 rose."}};
  };
  return Json{
      {"findings",
       Json::array(
           {finding("closed", "closed", "warning", "2017-11-08T05:00:00Z", "2017-11-08T06:00:00Z"),
            finding("open", "open", "critical", "2017-11-08T04:00:00Z", nullptr),
            finding("before", "closed", "warning", "2017-11-06T04:00:00Z", "2017-11-06T05:00:00Z"),
            finding("after", "open", "warning", "2017-11-09T00:00:00Z", nullptr)})}}
      .dump();
}

inline Ask ask_all() {
  return [](std::string_view query, std::string_view request, std::uint64_t& as_of) -> std::string {
    as_of = 42;
    if (query == "trade_tracker.performance") return performance_answer(request);
    if (query == "trade_tracker.trades") return trades_answer(request);
    if (query == "ml_monitor.models") return models_answer(request);
    if (query == "tracer.summary") return summary_answer(request);
    throw Error(EPHOR_TIMEOUT, "too slow");
  };
}

inline std::vector<std::string> all_queries() {
  return {"trade_tracker.performance", "trade_tracker.trades", "ml_monitor.models",
          "tracer.performance", "tracer.summary"};
}

}  // namespace ephor::reporter::testing
