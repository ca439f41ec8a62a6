// SPDX-License-Identifier: Apache-2.0
//
// Periods, joins and filtered lists, asked of the real trade_tracker.so.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "trade_tracker_made.hpp"

namespace {

using namespace ephor::testing;

// The figures of [from, to) in plain sums of 64ths, which are exact.
Json plain_figures(const std::vector<Made>& trades, std::int64_t from, std::int64_t to) {
  int closed = 0, won = 0, lost = 0, all = 0, opened = 0;
  double pnl = 0.0;
  for (const Made& made : trades) {
    if (made.open_ns < to && made.close_ns >= from) ++all;
    if (made.open_ns >= from && made.open_ns < to) ++opened;
    if (made.close_ns < from || made.close_ns >= to) continue;
    ++closed;
    won += made.pnl > 0.0 ? 1 : 0;
    lost += made.pnl < 0.0 ? 1 : 0;
    pnl += made.pnl;
  }
  return {{"trades", all}, {"closed", closed}, {"won", won},
          {"lost", lost},  {"opened", opened}, {"pnl", closed == 0 ? Json() : Json(pnl)}};
}

}  // namespace

TEST_CASE("trade_tracker period: equal to plain sums, whatever is in memory", "[unit][trading]") {
  const std::vector<Made> trades = make_trades(300, 1);
  std::vector<std::string> lines = lines_of(trades);
  std::mt19937_64 random(2);
  std::shuffle(lines.begin(), lines.end(), random);
  Tracker large;
  Tracker small(R"({"max_trades_in_memory": 5, "max_decisions_in_memory": 5})");
  for (const std::string& line : lines) {
    large.host.deliver(line);
    small.host.deliver(line);
    if (random() % 10 == 0) small.host.save();
    if (random() % 60 == 0) small.host.crash();
  }
  for (int round = 0; round < 25; ++round) {
    const auto from = kStart + static_cast<std::int64_t>(random() % (5 * kDay));
    const auto to = from + static_cast<std::int64_t>(random() % (2 * kDay));
    const Json found = large.get("/api/performance?" + period_query(from, to));
    const Json expected = plain_figures(trades, from, to);
    for (const auto& [name, value] : expected.items()) {
      INFO(name);
      REQUIRE(found[name] == value);
    }
    REQUIRE(small.get("/api/performance?" + period_query(from, to)) == found);
    REQUIRE(found["over"]["from"] == rfc3339(from));
  }
  // Days in nanoseconds make up the whole.
  double pnl = 0.0;
  int closed = 0;
  for (int day = 0; day < 6; ++day) {
    const Json found = large.get("/api/performance?from=" + std::to_string(kStart + day * kDay) +
                                 "&to=" + std::to_string(kStart + (day + 1) * kDay));
    closed += found["closed"].get<int>();
    if (!found["pnl"].is_null()) pnl += found["pnl"].get<double>();
  }
  const Json whole = large.get("/api/performance");
  REQUIRE(whole["closed"] == closed);
  REQUIRE(whole["pnl"] == pnl);
  REQUIRE(small.get("/api/performance") == whole);
  REQUIRE_THROWS_AS(large.get("/api/performance?from=soon"), ephor::Error);
  REQUIRE_THROWS_AS(large.get("/api/performance?" + period_query(kStart + 1, kStart)),
                    ephor::Error);
  // Only some of the trades.
  const Json part = large.get("/api/performance?symbol=ETH&side=long");
  REQUIRE(part["closed"] == std::count_if(trades.begin(), trades.end(), [](const Made& made) {
            return made.number % 3 == 0 && made.is_long;
          }));
  REQUIRE(part["reasons"]["sharpe"].is_string());
  REQUIRE(whole["by_model"]["bull"]["agreed"]["closed"] == whole["by_side"]["buy"]["closed"]);
  REQUIRE(whole["by_model"]["calm"]["abstained"]["closed"] == closed);
}

TEST_CASE("trade_tracker period: a trade with all that is joined to it", "[unit][trading]") {
  const std::vector<Made> trades = make_trades(3, 3);
  Tracker tracker;
  for (const std::string& line : lines_of(trades)) tracker.host.deliver(line);
  const Json one = tracker.get("/api/trades/t1");
  REQUIRE(one["trace_id"] == std::string(31, '0') + "7");
  REQUIRE(one["regime"] == "down");
  REQUIRE(one["decision"]["confidence"] == 0.75);
  REQUIRE(one["decision"]["path"]["decision_steps"] == Json({"a", "b"}));
  REQUIRE(one["models"].size() == 3);
  std::map<std::string, Json> models;
  for (const Json& model : one["models"]) models[model["model_id"]] = model;
  REQUIRE(models["bull"]["weight"] == 0.5);
  REQUIRE(models["bull"]["confidence"] == 0.6);
  REQUIRE(models["bull"]["agreed"] == trades[1].is_long);
  const bool went_up = trades[1].is_long == (trades[1].pnl > 0.0);
  REQUIRE(models["bull"]["right"] == went_up);
  REQUIRE(models["bear"]["right"] == !went_up);
  REQUIRE(models["calm"]["agreed"].is_null());
  REQUIRE(one["r_multiple"].get<double>() == Approx(trades[1].pnl / 2.0));
  REQUIRE(one["holding_s"].get<double>() ==
          Approx(static_cast<double>(trades[1].close_ns - trades[1].open_ns) / 1e9));
  REQUIRE(one["executions"].is_null());

  tracker.host.deliver(line_of("ephor.trade", kStart,
                               {{"trade_id", "x"},
                                {"symbol", "BTC"},
                                {"side", "buy"},
                                {"quantity", 3},
                                {"price", 10},
                                {"status", "open"},
                                {"order_id", "o1"},
                                {"max_adverse_excursion", -1.5},
                                {"ensemble_decision",
                                 {{"decision_id", "dx"},
                                  {"ensemble_id", "e"},
                                  {"primary_prediction", "buy"},
                                  {"individual_predictions", {{"m", "buy"}}}}},
                                {"decision_id", "dx"}}));
  for (const double price : {10.0, 11.0}) {
    tracker.host.deliver(line_of(
        "ephor.fill", kStart,
        {{"order_id", "o1"}, {"price", price}, {"quantity", price == 10.0 ? 1 : 2}, {"fee", 0.5}}));
  }
  const Json nested = tracker.get("/api/trades/x");
  REQUIRE(nested["models"][0]["model_id"] == "m");
  REQUIRE(nested["models_agreed"] == Json({"m"}));
  REQUIRE(nested["max_adverse_excursion"] == -1.5);
  REQUIRE(nested["executions"]["fills"] == 2);
  REQUIRE(nested["executions"]["average_price"].get<double>() == Approx(32.0 / 3.0));
  REQUIRE(nested["executions"]["fees"] == 1.0);
}

TEST_CASE("trade_tracker period: lists by filter, order and page", "[unit][trading]") {
  const std::vector<Made> trades = make_trades(60, 4);
  for (const char* config : {"{}", R"({"max_trades_in_memory": 5})"}) {
    Tracker tracker(config);
    for (const std::string& line : lines_of(trades)) {
      tracker.host.deliver(line);
      tracker.host.save();
    }
    const auto expected = [&](auto&& accepts, auto&& before) {
      std::vector<Made> wanted;
      for (const Made& made : trades) {
        if (accepts(made)) wanted.push_back(made);
      }
      std::stable_sort(wanted.begin(), wanted.end(), before);
      std::vector<std::string> out;
      for (const Made& made : wanted) out.push_back("t" + std::to_string(made.number));
      return out;
    };
    const auto all = [](const Made&) { return true; };
    const auto latest = [](const Made& a, const Made& b) { return a.number > b.number; };
    const auto by_pnl = [](const Made& a, const Made& b) { return a.pnl < b.pnl; };
    REQUIRE(tracker.ids("limit=1000&sort=pnl") == expected(all, by_pnl));
    REQUIRE(tracker.ids("result=won") ==
            expected([](const Made& made) { return made.pnl > 0.0; }, latest));
    REQUIRE(
        tracker.ids("side=short&regime=up") ==
        expected([](const Made& made) { return !made.is_long && made.number % 2 == 0; }, latest));
    REQUIRE(tracker.ids("model=bull&sort=pnl") ==
            expected([](const Made& made) { return made.is_long; }, by_pnl));
    REQUIRE(tracker.ids("decision_id=d7") == std::vector<std::string>{"t7"});
    REQUIRE(tracker.ids("model=calm").empty());
    const std::int64_t from = kStart + kDay, to = kStart + 2 * kDay;
    REQUIRE(tracker.ids(period_query(from, to)) ==
            expected([&](const Made& made) { return made.close_ns >= from && made.close_ns < to; },
                     latest));
    const std::vector<std::string> sorted = expected(all, by_pnl);
    REQUIRE(tracker.ids("sort=pnl&limit=7&offset=14") ==
            std::vector<std::string>(sorted.begin() + 14, sorted.begin() + 21));
    REQUIRE(tracker.get("/api/trades?sort=pnl&limit=7")["next_offset"] == 7);
    REQUIRE(tracker.get("/api/trades?result=lost")["over"]["matching"].get<int>() > 0);
    REQUIRE_THROWS_AS(tracker.get("/api/trades?sort=luck"), ephor::Error);
    REQUIRE_THROWS_AS(tracker.get("/api/trades?result=good"), ephor::Error);
  }
}
