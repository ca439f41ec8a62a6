// SPDX-License-Identifier: Apache-2.0
//
// Equity, limits and the recorded session, asked of the real trade_tracker.so.
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "trade_tracker_made.hpp"

namespace {

using namespace ephor::testing;

}  // namespace

TEST_CASE("trade_tracker period: equity told or configured, and its limits", "[unit][trading]") {
  const auto equity = [](std::int64_t time_ns, double value, const Json& labels = Json::object()) {
    return line_of("ephor.metric", time_ns,
                   {{"name", "portfolio.equity"}, {"value", value}, {"labels", labels}});
  };
  const std::int64_t midnight = kStart / kDay * kDay;
  Tracker told(R"({"max_drawdown_alert": 0.2, "periods_per_year": 252})");
  const std::vector<double> closes{1100.0, 1210.0, 847.0, 1210.0};
  told.host.deliver(equity(midnight, 1000.0));
  for (std::size_t day = 0; day < closes.size(); ++day) {
    told.host.deliver(
        equity(midnight + static_cast<std::int64_t>(day) * kDay + 20 * kHour, closes[day]));
  }
  Json found = told.get("/api/performance");
  // Returns: 10 %, 10 %, -30 %, 42.857 %.
  const std::vector<double> returns{0.1, 0.1, -0.3, 1210.0 / 847.0 - 1.0};
  double mean = 0.0, squares = 0.0;
  for (const double value : returns) mean += value / 4.0;
  for (const double value : returns) squares += (value - mean) * (value - mean);
  REQUIRE(found["returns"]["days"] == 4);
  REQUIRE(found["returns"]["periods_per_year"] == 252.0);
  REQUIRE(found["sharpe"].get<double>() ==
          Approx(mean / std::sqrt(squares / 3.0) * std::sqrt(252.0)));
  REQUIRE(found["returns"]["max_drawdown"].get<double>() == Approx(-0.3));
  found = told.get("/api/performance?" + period_query(midnight + kDay, midnight + 2 * kDay));
  REQUIRE(found["returns"]["days"] == 1);
  REQUIRE(found["returns"]["total_return"].get<double>() == Approx(0.1));
  REQUIRE(found["sharpe"].is_null());
  REQUIRE(found["reasons"]["sharpe"] == "1 daily returns, at least 2 are needed");
  const auto published = told.host.published("ephor.finding");
  REQUIRE(published.size() == 2);
  const Json opened = Json::parse(published[0].data_json);
  REQUIRE(opened["kind"] == "drawdown");
  REQUIRE(opened["evidence"]["deepest_share"].get<double>() == Approx(0.3));
  REQUIRE(Json::parse(published[1].data_json)["state"] == "closed");
  REQUIRE(Json::parse(told.host.ask("trade_tracker.summary"))["findings"].size() == 1);

  Tracker two;
  two.host.deliver(equity(midnight, 1000.0, {{"account", "a"}}));
  two.host.deliver(equity(midnight, 5000.0, {{"account", "b"}}));
  REQUIRE(two.get("/api/performance")["equity"]["realised_first"].is_null());
  REQUIRE(two.get("/api/performance")["equity"]["reason"].is_string());

  const std::vector<Made> trades = make_trades(50, 5);
  Tracker configured(R"({"initial_equity": 1000, "max_drawdown_alert_amount": 20})");
  Tracker unknown(R"({"equity_metric": "", "max_drawdown_alert": 0.01})");
  for (const std::string& line : lines_of(trades)) {
    configured.host.deliver(line);
    unknown.host.deliver(line);
  }
  found = configured.get("/api/performance");
  REQUIRE(found["equity"]["realised_last"].get<double>() ==
          Approx(1000.0 + found["pnl"].get<double>()));
  REQUIRE(found["equity_curve"][0]["equity"].get<double>() ==
          Approx(1000.0 + found["equity_curve"][0]["pnl"].get<double>()));
  REQUIRE(found["max_drawdown"]["fraction"].get<double>() ==
          Approx(found["max_drawdown"]["amount"].get<double>() /
                 (1000.0 + found["max_drawdown"]["peak_pnl"].get<double>())));
  REQUIRE_FALSE(configured.host.published("ephor.finding").empty());
  // Of a later period equity begins with what was realised before.
  const Json later = configured.get("/api/performance?from=" + rfc3339(kStart + 2 * kDay));
  const Json first = configured.get("/api/performance?to=" + rfc3339(kStart + 2 * kDay));
  REQUIRE(later["equity"]["realised_first"].get<double>() ==
          Approx(1000.0 + first["pnl"].get<double>()));
  REQUIRE(unknown.get("/api/performance")["sharpe"].is_null());
  REQUIRE(unknown.host.published("ephor.finding").empty());
}

TEST_CASE("trade_tracker period: each further key changes what it says", "[unit][trading]") {
  const std::vector<Made> trades = make_trades(30, 6);
  const auto run = [&](std::string_view config) {
    auto tracker = std::make_unique<Tracker>(config);
    for (const std::string& line : lines_of(trades)) tracker->host.deliver(line);
    return tracker;
  };
  REQUIRE(run(R"({"keep_decision_paths": false})")
              ->get("/api/trades/t1")["decision"]["path"]
              .is_null());
  const auto short_paths = run(R"({"max_path_bytes": 100})");
  short_paths->host.deliver(
      line_of("ephor.decision_path", kStart,
              {{"decision_id", "d1"}, {"decision_steps", std::string(200, 'x')}}));
  REQUIRE(short_paths->get("/api/performance")["decision_paths_too_long"] == 1);
  const auto few = run(R"({"max_trades_scanned": 10})");
  REQUIRE(few->get("/api/performance")["closed"] == 30);
  REQUIRE(few->get("/api/performance")["reasons"]["analysis"].is_string());
  REQUIRE_THROWS_AS(few->get("/api/trades?sort=pnl"), ephor::Error);
}

TEST_CASE("trade_tracker period: days of the recorded session, counted again",
          "[unit][trading][data]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  std::set<std::string> ids;
  std::string lines;
  struct Day {
    int closed = 0;
    int won = 0;
    double pnl = 0.0;
  };
  std::map<std::string, Day> days;
  std::map<std::string, double> equity;
  for_each_line(*path, [&](std::string_view line) {
    const bool is_trade = line.find("\"type\":\"ephor.trade\"") != std::string_view::npos;
    if (!is_trade && line.find("\"portfolio.equity\"") == std::string_view::npos) return;
    const Json event = Json::parse(line);
    if (!ids.insert(event["source"].get<std::string>() + event["id"].get<std::string>()).second) {
      return;
    }
    lines += line;
    const std::string day = event["time"].get<std::string>().substr(0, 10);
    if (!is_trade) {
      equity[day] = event["data"]["value"];
    } else if (event["data"]["status"] == "closed") {
      const double pnl = event["data"]["pnl"];
      ++days[day].closed;
      days[day].won += pnl > 0.0 ? 1 : 0;
      days[day].pnl += pnl;
    }
  });
  Tracker tracker;
  tracker.host.deliver(lines);
  for (const auto& [day, expected] : days) {
    const std::int64_t from = parse_rfc3339(day + "T00:00:00Z").value().time_ns;
    const Json found = tracker.get("/api/performance?" + period_query(from, from + kDay));
    REQUIRE(found["closed"] == expected.closed);
    REQUIRE(found["won"] == expected.won);
    REQUIRE(found["pnl"].get<double>() == Approx(expected.pnl).epsilon(1e-12));
  }
  double previous = 10'000.0, mean = 0.0, squares = 0.0;
  std::vector<double> returns;
  for (const auto& [day, value] : equity) {
    returns.push_back(value / previous - 1.0);
    previous = value;
  }
  for (const double value : returns) mean += value / static_cast<double>(returns.size());
  for (const double value : returns) squares += (value - mean) * (value - mean);
  const Json whole = tracker.get("/api/performance");
  REQUIRE(whole["sharpe"].get<double>() ==
          Approx(mean / std::sqrt(squares / static_cast<double>(returns.size() - 1)) *
                 std::sqrt(365.0)));
  REQUIRE(whole["equity"]["realised_first"] == 10'000.0);
  REQUIRE(whole["closed"] == 818);
}
