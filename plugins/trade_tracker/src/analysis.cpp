// SPDX-License-Identifier: Apache-2.0
#include "analysis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "equity.hpp"
#include "statistics.hpp"
#include "vocabulary.hpp"
#include "votes.hpp"

namespace ephor::trade_tracker {
namespace {

constexpr std::int64_t kHourNs = 3'600'000'000'000;

// The direction the price went while the trade was open; 0: not known or nowhere.
int move_of(const TradeRecord& trade) {
  if (!trade.price || !trade.close_price) return 0;
  return *trade.close_price > *trade.price ? 1 : *trade.close_price < *trade.price ? -1 : 0;
}

// Clients give some times to the nanosecond and some cut to the microsecond: a position that
// follows another at once must not overlap with it for that.
std::int64_t to_microsecond(std::int64_t time_ns) { return time_ns - time_ns % 1000; }

}  // namespace

void Analyst::add(std::uint64_t key, const TradeRecord& trade) {
  const std::optional<double> pnl = realised_pnl(trade);
  const bool is_closed = trade.is_closed();
  out_.all.change(is_closed, pnl, true);
  const int side = trade.is_long() ? 1 : trade.is_short() ? -1 : 0;
  if (trade.open_ns && (!period_.from_ns || *trade.open_ns >= *period_.from_ns)) ++out_.opened;
  if (is_closed) {
    if (trade.open_ns) {
      const std::int64_t hour = (*trade.open_ns % kDayNs + kDayNs) % kDayNs / kHourNs;
      out_.by_hour[static_cast<std::size_t>(hour)].change(true, pnl, true);
    } else {
      ++out_.without_open_time;
    }
    if (trade.open_ns && trade.close_ns && *trade.close_ns >= *trade.open_ns) {
      holdings_s_.push_back(static_cast<double>(*trade.close_ns - *trade.open_ns) / 1e9);
    }
    if (const auto multiple = r_multiple(trade)) out_.r_multiples.push_back(*multiple);
    add_models(trade, pnl);
  }
  if (pnl) {
    if (trade.close_ns) closes_.push_back({*trade.close_ns, key, *pnl});
    const auto better = [&](const std::optional<Extreme>& known, double sign) {
      return !known || sign * *pnl > sign * known->pnl ||
             (*pnl == known->pnl && trade.trade_id < known->trade_id);
    };
    if (better(out_.best, 1.0)) out_.best = Extreme{*pnl, trade.trade_id};
    if (better(out_.worst, -1.0)) out_.worst = Extreme{*pnl, trade.trade_id};
  }
  // A position: it was opened, and not called off.
  const bool was_position = is_closed || stage_of(trade.status) == 1;
  if (was_position && trade.open_ns) {
    const double size =
        trade.price && trade.quantity ? std::abs(*trade.price * *trade.quantity) : 0;
    if (size == 0.0) ++without_size_;
    const std::int64_t end = is_closed ? trade.close_ns.value_or(*trade.open_ns) : now_ns_;
    intervals_.push_back(
        {to_microsecond(*trade.open_ns), to_microsecond(end), side < 0 ? -size : size, side});
  }
}

void Analyst::add_models(const TradeRecord& trade, const std::optional<double>& pnl) {
  const int side = trade.is_long() ? 1 : trade.is_short() ? -1 : 0;
  const int move = move_of(trade);
  for_each_vote(trade.model_votes, [&](std::string_view model, int direction) {
    auto found = out_.by_model.find(std::string(model));
    if (found == out_.by_model.end()) {
      const bool is_room = out_.by_model.size() < models_max_;
      found =
          out_.by_model.try_emplace(is_room ? std::string(model) : std::string(Performance::kOther))
              .first;
    }
    ModelFigures& figures = found->second;
    TradeGroup& group = direction == 0 || side == 0 ? figures.abstained
                        : direction == side         ? figures.agreed
                                                    : figures.opposed;
    group.change(true, pnl, true);
    if (direction == 0 || move == 0) return;
    ++figures.calls;
    figures.right += direction == move ? 1 : 0;
  });
}

void Analyst::count_runs() {
  std::int64_t run = 0;
  for (const Close& close : closes_) {
    out_.pnls.push_back(close.pnl);
    out_.pnl_by_day[day_of(close.time_ns)] += close.pnl;
    if (close.pnl > 0.0) {
      run = std::max<std::int64_t>(run, 0) + 1;
      out_.longest_won = std::max(out_.longest_won, static_cast<std::uint64_t>(run));
    } else if (close.pnl < 0.0) {
      run = std::min<std::int64_t>(run, 0) - 1;
      out_.longest_lost = std::max(out_.longest_lost, static_cast<std::uint64_t>(-run));
    } else {
      run = 0;
    }
  }
  out_.current_run = run;
}

void Analyst::find_drawdown() {
  if (closes_.empty()) return;
  DrawdownStory deepest;
  ExactSum sum;
  double peak = 0.0;
  std::int64_t peak_ns = 0;
  for (const Close& close : closes_) {
    sum.add(close.pnl);
    const double equity = sum.value();
    if (deepest.amount > 0.0 && deepest.recovered_ns == 0 && equity >= deepest.peak_pnl) {
      deepest.recovered_ns = close.time_ns;
    }
    if (equity > peak) {
      peak = equity;
      peak_ns = close.time_ns;
    }
    if (peak - equity > deepest.amount) {
      deepest = {peak - equity, peak_ns, close.time_ns, 0, peak};
    }
  }
  out_.drawdown = deepest;
}

void Analyst::measure_holding() {
  if (holdings_s_.empty()) return;
  std::sort(holdings_s_.begin(), holdings_s_.end());  // sums must not hang on the order
  out_.holding = HoldingTimes{holdings_s_.size(), *mean_of(holdings_s_), *median_of(holdings_s_),
                              holdings_s_.front(), holdings_s_.back()};
}

void Analyst::measure_exposure() {
  if (intervals_.empty()) return;
  Exposure exposure;
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (const Interval& interval : intervals_) first = std::min(first, interval.from_ns);
  exposure.from_ns = period_.from_ns.value_or(first);
  exposure.to_ns = std::min(period_.to_ns.value_or(now_ns_), std::max(now_ns_, exposure.from_ns));
  if (exposure.to_ns <= exposure.from_ns) return;

  struct Edge {
    std::int64_t time_ns;
    int count;  // +1 begins, -1 ends
    int side;
    double notional;
  };
  std::vector<Edge> edges;
  for (const Interval& interval : intervals_) {
    const std::int64_t from = std::max(interval.from_ns, exposure.from_ns);
    const std::int64_t to = std::min(interval.to_ns, exposure.to_ns);
    if (to <= from) continue;
    ++exposure.trades;
    edges.push_back({from, 1, interval.side, interval.notional});
    edges.push_back({to, -1, interval.side, interval.notional});
  }
  // At one instant what ends goes first: a reversal is no double position.
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    return std::tie(a.time_ns, a.count, a.side, a.notional) <
           std::tie(b.time_ns, b.count, b.side, b.notional);
  });
  ExactSum gross, net;
  std::int64_t open = 0, longs = 0, shorts = 0;
  double open_ns = 0.0, long_ns = 0.0, short_ns = 0.0, gross_time = 0.0, net_time = 0.0;
  std::int64_t last = exposure.from_ns;
  for (const Edge& edge : edges) {
    const auto passed = static_cast<double>(edge.time_ns - last);
    if (open > 0) open_ns += passed;
    if (longs > 0) long_ns += passed;
    if (shorts > 0) short_ns += passed;
    gross_time += passed * gross.value();
    net_time += passed * net.value();
    last = edge.time_ns;
    open += edge.count;
    longs += edge.side > 0 ? edge.count : 0;
    shorts += edge.side < 0 ? edge.count : 0;
    gross.add(edge.count * std::abs(edge.notional));
    net.add(edge.count * edge.notional);
    exposure.gross_most = std::max(exposure.gross_most, gross.value());
    exposure.positions_most = std::max(exposure.positions_most, static_cast<std::uint64_t>(open));
  }
  const auto whole = static_cast<double>(exposure.to_ns - exposure.from_ns);
  exposure.open_share = open_ns / whole;
  exposure.long_share = long_ns / whole;
  exposure.short_share = short_ns / whole;
  exposure.gross_mean = gross_time / whole;
  exposure.net_mean = net_time / whole;
  exposure.trades_without_size = without_size_;
  out_.exposure = exposure;
}

Analysis Analyst::finish() {
  std::sort(closes_.begin(), closes_.end());
  std::sort(out_.r_multiples.begin(), out_.r_multiples.end());
  count_runs();
  find_drawdown();
  measure_holding();
  measure_exposure();
  return std::move(out_);
}

}  // namespace ephor::trade_tracker
