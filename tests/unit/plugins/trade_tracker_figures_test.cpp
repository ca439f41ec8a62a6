// SPDX-License-Identifier: Apache-2.0
//
// Statistics, equity and the analysis of a period, by hand and against a second implementation.
#include <algorithm>
#include <cmath>
#include <ephor/wilson.hpp>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "analysis.hpp"
#include "drawdown_watch.hpp"
#include "equity.hpp"
#include "statistics.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "tracer_session.hpp"
#include "votes.hpp"

namespace {

using namespace ephor::trade_tracker;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3600 * kSecond;

TradeRecord closed_trade(const std::string& id, const std::string& side, std::int64_t open_s,
                         std::int64_t close_s, double pnl) {
  TradeRecord trade;
  trade.trade_id = id;
  trade.status = "closed";
  trade.side = side;
  trade.quantity = 2.0;
  trade.price = 100.0;
  trade.close_price = side == "buy" ? 100.0 + pnl / 2.0 : 100.0 - pnl / 2.0;
  trade.pnl = pnl;
  trade.open_ns = open_s * kSecond;
  trade.close_ns = close_s * kSecond;
  return trade;
}

Analysis analyse(const std::vector<TradeRecord>& trades, Period period, std::int64_t now_s) {
  Analyst analyst(period, now_s * kSecond, 10);
  std::uint64_t key = 0;
  for (const TradeRecord& trade : trades) analyst.add(++key, trade);
  return analyst.finish();
}

}  // namespace

TEST_CASE("statistics: by hand", "[unit][trading]") {
  REQUIRE_FALSE(ephor::wilson_95(0, 0));
  REQUIRE(ephor::wilson_95(10, 100)->low == Approx(0.05522914).epsilon(1e-5));
  REQUIRE(ephor::wilson_95(10, 100)->high == Approx(0.1743657).epsilon(1e-5));
  const std::vector<double> values{4.0, 2.0, 9.0, 1.0};
  REQUIRE(*mean_of(values) == 4.0);
  REQUIRE(*median_of(values) == 3.0);
  REQUIRE(*deviation_of(values) == Approx(std::sqrt(38.0 / 3.0)));
  REQUIRE(*sqn_of(values) == Approx(2.0 * 4.0 / std::sqrt(38.0 / 3.0)));
  REQUIRE_FALSE(deviation_of(std::vector<double>{1.0}));
  REQUIRE_FALSE(sqn_of(std::vector<double>{3.0, 3.0, 3.0}));
  // Wins 60 % at 2 for 1: 0.6 - 0.4 / 2.
  REQUIRE(*kelly_share(0.6, 2.0) == Approx(0.4));
  REQUIRE_FALSE(kelly_share(0.6, std::nullopt));
  // +10 %, -50 %: 1.1 x 0.5; the peak is 1.1.
  const ReturnFigures two = figures_of(std::vector<double>{0.1, -0.5}, 365.0);
  REQUIRE(*two.total == Approx(-0.45));
  REQUIRE(*two.max_drawdown == Approx(-0.5));
  REQUIRE(*two.sharpe == Approx(-0.2 / std::sqrt(0.18) * std::sqrt(365.0)));
  REQUIRE(*two.sortino == Approx(-0.2 / std::sqrt(0.125) * std::sqrt(365.0)));
  REQUIRE_FALSE(figures_of(std::vector<double>{0.01}, 365.0).sharpe);
  REQUIRE_FALSE(figures_of(std::vector<double>{0.01, 0.01}, 365.0).sharpe);
  REQUIRE_FALSE(figures_of(std::vector<double>{0.01, 0.02}, 365.0).sortino);
  REQUIRE_FALSE(figures_of(std::vector<double>{0.01, -1.0}, 365.0).total);
  REQUIRE_FALSE(
      figures_of(std::vector<double>{0.01, std::numeric_limits<double>::quiet_NaN()}, 365.0).total);
}

TEST_CASE("statistics: a real series against empyrical's figures", "[unit][trading][data]") {
  const auto path = ephor::testing::shared_data("trading/pyfolio_returns.csv");
  const auto truth_path = ephor::testing::shared_data("trading/pyfolio_returns.expected.json");
  if (!path || !truth_path) return;
  std::vector<double> returns;
  ephor::testing::for_each_line(*path, [&](std::string_view line) {
    const std::size_t comma = line.find(',');
    if (line.empty() || line.front() == 'd' || comma == std::string_view::npos) return;
    returns.push_back(std::stod(std::string(line.substr(comma + 1))));
  });
  std::string text;
  ephor::testing::for_each_line(*truth_path, [&](std::string_view line) { text += line; });
  const auto canonical = nlohmann::json::parse(text)["canonical"];
  const ReturnFigures found = figures_of(returns, 252.0);
  const auto require_near = [](double value, const nlohmann::json& expected) {
    REQUIRE(value == Approx(expected.get<double>()).epsilon(1e-9));
  };
  REQUIRE(returns.size() == canonical["n"]);
  require_near(*found.total, canonical["total_return"]);
  require_near(*found.sharpe, canonical["sharpe"]);
  require_near(*found.sortino, canonical["sortino"]);
  require_near(*found.volatility, canonical["annual_volatility"]);
  require_near(*found.cagr, canonical["annual_return_cagr"]);
  require_near(*found.max_drawdown, canonical["max_drawdown"]);
}

TEST_CASE("analysis: runs, holding, drawdown and recovery by hand", "[unit][trading]") {
  // Closes at 10, 20 ... : +5, +3, -6, -1, 0, +4, +1 -> 5, 8, 2, 1, 1, 5, 6.
  std::vector<TradeRecord> trades;
  std::int64_t at = 0;
  for (const double pnl : {5.0, 3.0, -6.0, -1.0, 0.0, 4.0, 1.0}) {
    at += 10;
    trades.push_back(closed_trade("t" + std::to_string(at), "buy", at - at / 10, at, pnl));
  }
  std::mt19937_64 random(1);
  for (int round = 0; round < 5; ++round) {
    const Analysis found = analyse(trades, {}, 100);
    REQUIRE(found.longest_won == 2);
    REQUIRE(found.longest_lost == 2);
    REQUIRE(found.current_run == 2);
    REQUIRE(found.best->trade_id == "t10");
    REQUIRE(found.worst->trade_id == "t30");
    REQUIRE(found.drawdown->amount == 7.0);
    REQUIRE(found.drawdown->peak_ns == 20 * kSecond);
    REQUIRE(found.drawdown->trough_ns == 40 * kSecond);
    REQUIRE(found.drawdown->recovered_ns == 0);
    // Held for 1, 2, ... 7 s.
    REQUIRE(found.holding->mean_s == 4.0);
    REQUIRE(found.holding->median_s == 4.0);
    REQUIRE(found.holding->least_s == 1.0);
    REQUIRE(found.holding->most_s == 7.0);
    REQUIRE(found.by_hour[0].closed == 7);
    std::shuffle(trades.begin(), trades.end(), random);
  }
  trades.push_back(closed_trade("last", "buy", 79, 80, 2.5));
  REQUIRE(analyse(trades, {}, 100).drawdown->recovered_ns == 80 * kSecond);
}

TEST_CASE("analysis: exposure from the intervals of positions", "[unit][trading]") {
  // 200 of notional each. Long 0..40 and 20..60, short 80..90, open long 95..; known to 100.
  std::vector<TradeRecord> trades{closed_trade("a", "buy", 0, 40, 1.0),
                                  closed_trade("b", "buy", 20, 60, 1.0),
                                  closed_trade("c", "sell", 80, 90, 1.0)};
  TradeRecord open = closed_trade("d", "buy", 95, 0, 0.0);
  open.status = "open";
  open.close_ns.reset();
  open.pnl.reset();
  trades.push_back(open);
  TradeRecord called_off = open;
  called_off.status = "cancelled";
  called_off.close_ns = 99 * kSecond;
  trades.push_back(called_off);
  const Exposure whole = *analyse(trades, {}, 100).exposure;
  REQUIRE(whole.open_share == Approx(0.75));
  REQUIRE(whole.long_share == Approx(0.65));
  REQUIRE(whole.short_share == Approx(0.10));
  REQUIRE(whole.gross_mean == Approx(200.0 * (40 + 40 + 10 + 5) / 100.0));
  REQUIRE(whole.net_mean == Approx(200.0 * (40 + 40 - 10 + 5) / 100.0));
  REQUIRE(whole.gross_most == 400.0);
  REQUIRE(whole.positions_most == 2);
  REQUIRE(whole.trades == 4);
  // [30, 85): 10 s of two, 20 of one, 5 of the short one.
  const Exposure part = *analyse(trades, {30 * kSecond, 85 * kSecond}, 100).exposure;
  REQUIRE(part.open_share == Approx(35.0 / 55.0));
  REQUIRE(part.gross_mean == Approx(200.0 * (10 * 2 + 20 + 5) / 55.0));
  // One after the other, at the same instant: never two at once. So when one client's clock is cut
  // to microseconds.
  TradeRecord next = closed_trade("n", "sell", 40, 50, 1.0);
  TradeRecord first = closed_trade("f", "buy", 0, 40, 1.0);
  first.close_ns = *first.close_ns + 300;
  next.open_ns = 40 * kSecond;
  REQUIRE(analyse({first, next}, {}, 100).exposure->positions_most == 1);
}

TEST_CASE("analysis: models that agreed, opposed and were right", "[unit][trading]") {
  TradeRecord won = closed_trade("w", "buy", 0, 10, 4.0);
  won.model_votes = "+up\n-down\n0idle";
  TradeRecord lost = closed_trade("l", "sell", 20, 30, -2.0);  // the price rose
  lost.model_votes = "+up\n-down";
  TradeRecord flat = closed_trade("f", "buy", 40, 50, -1.0);
  flat.close_price = flat.price;  // fees alone
  flat.model_votes = "+up";
  const Analysis found = analyse({won, lost, flat}, {}, 100);
  const ModelFigures& up = found.by_model.at("up");
  REQUIRE(up.agreed.closed == 2);
  REQUIRE(up.agreed.pnl.value() == 3.0);
  REQUIRE(up.opposed.pnl.value() == -2.0);
  REQUIRE(up.calls == 2);
  REQUIRE(up.right == 2);
  const ModelFigures& down = found.by_model.at("down");
  REQUIRE(down.agreed.pnl.value() == -2.0);
  REQUIRE(down.opposed.pnl.value() == 4.0);
  REQUIRE(down.right == 0);
  REQUIRE(found.by_model.at("idle").abstained.closed == 1);
  REQUIRE(found.by_model.at("idle").calls == 0);
}

TEST_CASE("analysis: a trade as it stood at a time", "[unit][trading]") {
  const TradeRecord trade = closed_trade("t", "buy", 10, 50, 4.0);
  REQUIRE(as_of(trade, 51 * kSecond).is_closed());
  const TradeRecord before = as_of(trade, 50 * kSecond);  // half-open: not yet
  REQUIRE(before.status == "open");
  REQUIRE_FALSE(realised_pnl(before));
  REQUIRE(end_of(before) == std::numeric_limits<std::int64_t>::max());
  TradeRecord stopped = trade;
  stopped.stop_loss = 99.0;  // 2 at risk
  REQUIRE(*r_multiple(stopped) == 2.0);
  stopped.stop_loss = 100.0;
  REQUIRE_FALSE(r_multiple(stopped));
}

TEST_CASE("votes: directions of labels and scores", "[unit][trading]") {
  for (const char* up : {"buy", "BUY", "Long", "up", "Bullish"}) REQUIRE(direction_of(up) == 1);
  for (const char* down : {"sell", "SHORT", "bear", "down"}) REQUIRE(direction_of(down) == -1);
  for (const char* none : {"hold", "HOLD", "", "7", "flat"}) REQUIRE(direction_of(none) == 0);
  const std::vector<ephor::MemberPrediction> members{
      {"a", {"buy", {}}, 0.7}, {"b\"c", {{}, -0.2}, {}}, {"d", {"hold", {}}, 0.5}, {"e", {}, 0.1}};
  const std::vector<ephor::NamedNumber> weights{{"a", 0.25}, {"d", 0.75}};
  const std::string text = members_json(members, weights);
  REQUIRE(
      nlohmann::json::parse(text) ==
      nlohmann::json::parse(
          R"([["a","buy",0.7,0.25],["b\"c",-0.2,null,null],["d","hold",0.5,0.75],["e",null,0.1,null]])"));
  const std::string votes = votes_of_members(text);
  REQUIRE(votes == "+a\n-b\"c\n0d");
  REQUIRE(vote_of(votes, "a") == 1);
  REQUIRE(vote_of(votes, "d") == 0);
  REQUIRE(vote_of(votes, "e") == 2);
  REQUIRE(votes_of_members("").empty());
}

TEST_CASE("equity: days in any order, returns over gaps", "[unit][trading]") {
  std::vector<EquitySample> samples{{1 * kHour, 100.0},
                                    {20 * kHour, 110.0},
                                    {25 * kHour, 90.0},
                                    {47 * kHour, 121.0},
                                    {75 * kHour, 60.5}};
  std::mt19937_64 random(2);
  for (int round = 0; round < 5; ++round) {
    EquityDays days(10);
    for (const EquitySample& sample : samples) days.add("", sample);
    REQUIRE(days.first()->value == 100.0);
    REQUIRE(days.last()->value == 60.5);
    REQUIRE(days.days().at(1).lowest.value == 90.0);
    REQUIRE(*days.at_end_before(1) == 110.0);
    REQUIRE(*days.at_end_before(3) == 121.0);
    REQUIRE_FALSE(days.at_end_before(0));
    REQUIRE_FALSE(days.is_ambiguous());
    std::shuffle(samples.begin(), samples.end(), random);
  }
  // Day 2 has no sample.
  const auto returns = daily_returns({{0, 110.0}, {1, 121.0}, {3, 60.5}}, 0, 3, 100.0);
  REQUIRE(returns.size() == 4);
  REQUIRE(returns[0] == Approx(0.1));
  REQUIRE(returns[1] == Approx(0.1));
  REQUIRE(returns[2] == 0.0);
  REQUIRE(returns[3] == Approx(-0.5));
  REQUIRE(daily_returns({{0, 1.0}}, 0, 1, 0.0).empty());
  EquityDays two(10);
  two.add("main", {kHour, 1.0});
  two.add("other", {kHour, 2.0});
  REQUIRE(two.is_ambiguous());
  EquityDays few(2);
  for (int day = 0; day < 5; ++day) few.add("", {day * kDayNs, 1.0 + day});
  REQUIRE(few.days().size() == 2);
  REQUIRE(few.first()->value == 4.0);
}

TEST_CASE("drawdown limit: opens at it, closes at half of it", "[unit][trading]") {
  DrawdownWatch share({0.1, {}}, "trade_tracker", 10);
  auto open_after = [now = std::int64_t{0}](DrawdownWatch& watch, double equity,
                                            bool is_whole) mutable {
    watch.update(now += kSecond, equity, is_whole);
    return watch.findings().open_count() == 1;
  };
  std::string states;
  for (const double equity :
       {100.0, 95.0, 120.0, 109.0, 108.0, 100.0, 113.9, 114.1, 110.0, 107.0}) {
    states += open_after(share, equity, true) ? "open " : "- ";
  }
  REQUIRE(states == "- - - - open open open - - open ");
  const ephor::Json list = share.findings().list();
  REQUIRE(list.size() == 2);
  REQUIRE(list[0]["state"] == "open");
  REQUIRE(list[1]["evidence"]["deepest"] == 20.0);
  REQUIRE(list[1]["onset"] == "1970-01-01T00:00:03Z");

  DrawdownWatch amount({{}, 10.0}, "trade_tracker", 10);
  REQUIRE_FALSE(open_after(amount, -9.0, false));  // a P&L begins at 0
  REQUIRE(open_after(amount, -10.0, false));
  REQUIRE_FALSE(open_after(amount, -4.0, false));
  DrawdownWatch none({{}, {}}, "trade_tracker", 10);
  REQUIRE_FALSE(open_after(none, -1e9, false));
}
