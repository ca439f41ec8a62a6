// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "equity_curve.hpp"
#include "exact_sum.hpp"
#include "join_table.hpp"
#include "performance.hpp"
#include "support/catch.hpp"
#include "trade.hpp"
#include "vocabulary.hpp"

using namespace ephor::trade_tracker;

namespace {

TradeRecord closed_trade(const std::string& id, double pnl, std::int64_t close_ns) {
  TradeRecord trade;
  trade.trade_id = id;
  trade.status = "closed";
  trade.symbol = "X";
  trade.pnl = pnl;
  trade.close_ns = close_ns;
  return trade;
}

}  // namespace

TEST_CASE("exact sum: equals the sum in integers, whatever the order", "[unit][trading]") {
  // Multiples of 2^-20 below 2^40 sum exactly in 128-bit integers scaled by 2^20.
  std::mt19937_64 random(1);
  std::vector<double> values;
  std::int64_t expected = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto scaled = static_cast<std::int64_t>(random() % (1ULL << 46)) - (1LL << 45);
    values.push_back(std::ldexp(static_cast<double>(scaled), -20));
    expected += scaled;
  }
  for (int round = 0; round < 3; ++round) {
    ExactSum sum;
    for (const double value : values) sum.add(value);
    REQUIRE(sum.value() == std::ldexp(static_cast<double>(expected), -20));
    std::shuffle(values.begin(), values.end(), random);
  }
}

TEST_CASE("exact sum: survives cancellation and takes values out without a trace",
          "[unit][trading]") {
  ExactSum sum;
  for (const double value : {1e100, 1.0, -1e100}) sum.add(value);
  REQUIRE(sum.value() == 1.0);
  std::mt19937_64 random(2);
  std::vector<double> values;
  for (int i = 0; i < 1000; ++i) values.push_back(std::normal_distribution(0.0, 1e6)(random));
  for (const double value : values) sum.add(value);
  std::shuffle(values.begin(), values.end(), random);
  for (const double value : values) sum.add(-value);
  REQUIRE(sum.value() == 1.0);
  // 0.1 ten times is 1 when rounded once; a running sum of doubles gives 0.9999999999999999.
  ExactSum tenths;
  for (int i = 0; i < 10; ++i) tenths.add(0.1);
  REQUIRE(tenths.value() == 1.0);
  REQUIRE(ExactSum().value() == 0.0);
}

TEST_CASE("words: sides, statuses and reasons have one spelling", "[unit][trading]") {
  for (const char* word : {"buy", "BUY", "Long", "enter_long", "exit_long"}) {
    REQUIRE(normalise_side(word) == "buy");
  }
  for (const char* word : {"sell", "SHORT", "enter_short", "EXIT_SHORT"}) {
    REQUIRE(normalise_side(word) == "sell");
  }
  REQUIRE(normalise_side("Hold") == "hold");
  REQUIRE(normalise_status("Canceled") == "cancelled");
  REQUIRE(stage_of("pending") < stage_of("open"));
  REQUIRE(stage_of("open") < stage_of("cancelled"));
  REQUIRE(stage_of("cancelled") < stage_of("closed"));
  REQUIRE(normalise_reason("Hard stop-loss triggered at -2.45") == "Hard stop-loss triggered at #");
  REQUIRE(normalise_reason("Analyst confidence 0.65 < 0.4") == "Analyst confidence # < #");
  REQUIRE(normalise_reason("TAKE_PROFIT") == "TAKE_PROFIT");
  REQUIRE(normalise_reason("crossed ema20  in 1,250 s") == "crossed ema20 in # s");
  REQUIRE(normalise_reason("").empty());
}

TEST_CASE("trade: opened and closed merge to the same in either order", "[unit][trading]") {
  TradeRecord opened;
  opened.trade_id = "t";
  opened.status = "open";
  opened.symbol = "BTC";
  opened.price = 100.0;
  opened.stop_loss = 90.0;
  opened.open_ns = 5;
  opened.updated_ns = 5;
  opened.sequence = 1;
  TradeRecord closed = closed_trade("t", 3.0, 50);
  closed.price = 101.0;
  closed.fees = 0.5;
  closed.updated_ns = 50;
  closed.sequence = 2;
  TradeRecord one = opened;
  merge(one, closed);
  TradeRecord other = closed;
  merge(other, opened);
  for (const TradeRecord& trade : {one, other}) {
    REQUIRE(trade.status == "closed");
    REQUIRE(trade.price == 101.0);
    REQUIRE(trade.stop_loss == 90.0);
    REQUIRE(trade.open_ns == 5);
    REQUIRE(trade.close_ns == 50);
    REQUIRE(trade.sequence == 1);
    REQUIRE(trade.updated_ns == 50);
  }
}

TEST_CASE("trade: P&L is computed where it is not reported", "[unit][trading]") {
  TradeRecord trade;
  trade.status = "closed";
  trade.side = "sell";
  trade.price = 100.0;
  trade.close_price = 90.0;
  trade.quantity = 3.0;
  REQUIRE(realised_pnl(trade) == 30.0);
  trade.fees = 1.5;
  REQUIRE(realised_pnl(trade) == 28.5);
  trade.side = "buy";
  REQUIRE(realised_pnl(trade) == -31.5);
  trade.pnl = -7.0;
  REQUIRE(realised_pnl(trade) == -7.0);
  trade.pnl.reset();
  trade.side = "hold";
  REQUIRE_FALSE(realised_pnl(trade));
  trade.side = "buy";
  trade.close_price = 1e300;
  REQUIRE_FALSE(realised_pnl(trade));  // beyond what sums can hold
  trade.close_price.reset();
  REQUIRE_FALSE(realised_pnl(trade));
  trade.pnl = 1.0;
  trade.status = "open";
  REQUIRE_FALSE(realised_pnl(trade));
}

TEST_CASE("equity: drawdown by hand", "[unit][trading]") {
  EquityCurve curve(100);
  REQUIRE_FALSE(curve.max_drawdown());
  // Equity 5, 2, 8, 1, 4 at times 10, 20, ...
  const double pnl[] = {5, -3, 6, -7, 3};
  const int order[] = {3, 0, 4, 1, 2};
  for (const int i : order) curve.add(10 * (i + 1), static_cast<std::uint64_t>(i), pnl[i]);
  const auto deepest = curve.max_drawdown();
  REQUIRE(deepest->amount == 7.0);
  REQUIRE(deepest->peak_ns == 30);
  REQUIRE(deepest->trough_ns == 40);
  curve.remove(40, 3, -7);
  REQUIRE(curve.max_drawdown()->amount == 3.0);
  EquityCurve losing(100);
  losing.add(10, 1, -4.0);
  REQUIRE(losing.max_drawdown()->amount == 4.0);
}

TEST_CASE("equity: folding keeps the drawdown and the end, and samples stay few",
          "[unit][trading]") {
  std::mt19937_64 random(3);
  EquityCurve small(100);
  EquityCurve large(1'000'000);
  double equity = 0.0;
  double peak = 0.0;
  double deepest = 0.0;
  for (int i = 0; i < 20'000; ++i) {
    const double pnl = static_cast<double>(static_cast<int>(random() % 201) - 100);  // exact
    equity += pnl;
    peak = std::max(peak, equity);
    deepest = std::max(deepest, peak - equity);
    small.add(i + 1, static_cast<std::uint64_t>(i), pnl);
    large.add(i + 1, static_cast<std::uint64_t>(i), pnl);
  }
  REQUIRE(small.max_drawdown()->amount == deepest);
  REQUIRE(large.max_drawdown()->amount == deepest);
  REQUIRE(small.folded_count() > 19'000);
  for (const EquityCurve* curve : {&small, &large}) {
    const auto points = curve->sampled(200);
    REQUIRE(points.size() <= 202);
    REQUIRE(points.back().equity == equity);
    REQUIRE(points.back().time_ns == 20'000);
    REQUIRE(std::is_sorted(points.begin(), points.end(),
                           [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; }));
  }
  small.add(1, 99'999, 50.0);  // far behind the fold
  REQUIRE(small.late_count() == 1);
  REQUIRE(small.sampled(200).back().equity == equity + 50.0);
  std::string state;
  ephor::StateWriter out(state);
  small.write(out);
  EquityCurve read(100);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  REQUIRE(read.max_drawdown()->amount == small.max_drawdown()->amount);
  REQUIRE(read.sampled(50).size() == small.sampled(50).size());
}

TEST_CASE("performance: figures by hand", "[unit][trading]") {
  Performance performance(100, 1000);
  REQUIRE_FALSE(win_rate(performance.all()));
  REQUIRE_FALSE(profit_factor(performance.all()));
  TradeRecord open;
  open.trade_id = "open";
  open.status = "open";
  open.symbol = "Y";
  performance.add(0, open);
  std::uint64_t key = 1;
  for (const double pnl : {10.0, -4.0, 0.0, 2.0}) {
    performance.add(key, closed_trade(std::to_string(key), pnl, static_cast<std::int64_t>(key)));
    ++key;
  }
  TradeRecord unknown = closed_trade("u", 0.0, 9);
  unknown.pnl.reset();
  performance.add(key, unknown);
  const TradeGroup& all = performance.all();
  REQUIRE(all.trades == 6);
  REQUIRE(all.closed == 5);
  REQUIRE(all.closed_without_pnl == 1);
  REQUIRE(all.won == 2);
  REQUIRE(all.lost == 1);
  REQUIRE(win_rate(all) == Approx(2.0 / 3.0));  // the even one stands apart
  REQUIRE(all.even() == 1);
  REQUIRE(profit_factor(all) == 3.0);
  REQUIRE(expectancy(all) == 2.0);
  REQUIRE(all.pnl.value() == 8.0);
  REQUIRE(performance.by_symbol().at("Y").trades == 1);
  REQUIRE(performance.by_regime().at("(unknown)").trades == 6);
  performance.remove(1, closed_trade("1", 10.0, 1));
  REQUIRE(performance.all().won == 1);
  REQUIRE(performance.all().pnl.value() == -2.0);
}

TEST_CASE("performance: groups beyond the bound share one and can be left again",
          "[unit][trading]") {
  Performance performance(3, 1000);
  std::vector<TradeRecord> trades;
  for (int i = 0; i < 10; ++i) {
    TradeRecord trade = closed_trade(std::to_string(i), i, i + 1);
    trade.symbol = "S" + std::to_string(i);
    trades.push_back(trade);
  }
  for (std::size_t i = 0; i < trades.size(); ++i) performance.add(i, trades[i]);
  REQUIRE(performance.by_symbol().size() == 4);
  REQUIRE(performance.by_symbol().at("(other)").trades == 7);
  for (std::size_t i = 0; i < trades.size(); ++i) performance.remove(i, trades[i]);
  for (const auto& [name, group] : performance.by_symbol()) REQUIRE(group.trades == 0);
  REQUIRE(performance.all().pnl.value() == 0.0);
}

TEST_CASE("joins: what waits is told, and both sides are bounded", "[unit][trading]") {
  JoinTable joins(3);
  const auto key = JoinTable::key('e', "ex-1");
  REQUIRE(key != JoinTable::key('o', "ex-1"));
  joins.wait(key, "t1");
  joins.wait(key, "t1");
  joins.wait(key, "t2");
  REQUIRE(joins.waiting_count() == 2);
  std::string state;
  ephor::StateWriter out(state);
  joins.write(out);
  JoinTable read(3);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  REQUIRE(read.take_waiting(key) == std::vector<std::string>{"t1", "t2"});
  REQUIRE(joins.take_waiting(key) == std::vector<std::string>{"t1", "t2"});
  REQUIRE(joins.take_waiting(key).empty());
  for (int i = 0; i < 10; ++i) {
    joins.set_decision(static_cast<std::uint64_t>(i), "d" + std::to_string(i));
    joins.wait(static_cast<std::uint64_t>(100 + i), "t" + std::to_string(i));
  }
  REQUIRE(joins.decision_of(9) == "d9");
  REQUIRE(joins.decision_of(0).empty());
  REQUIRE(joins.waiting_count() == 3);
  REQUIRE(joins.given_up_count() == 7);
}
