// SPDX-License-Identifier: Apache-2.0
//
// Figures of the trades of a period that need all of them at once: runs, spread, exposure, models.
// What can be summed is in Performance. Trades in, figures out: no host, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "equity_curve.hpp"
#include "performance.hpp"
#include "trade.hpp"

namespace ephor::trade_tracker {

struct Period {
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;  // exclusive
};

struct Extreme {
  double pnl = 0.0;
  std::string trade_id;
};

struct HoldingTimes {  // of closed trades whose opening is known, in seconds
  std::uint64_t count = 0;
  double mean_s = 0.0;
  double median_s = 0.0;
  double least_s = 0.0;
  double most_s = 0.0;
};

// From the intervals of positions. Gross: sum of |quantity x entry price|; a trade whose size is
// not known has an interval, but no notional.
struct Exposure {
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  double open_share = 0.0;  // of the time, with any position
  double long_share = 0.0;
  double short_share = 0.0;
  double gross_mean = 0.0;  // over the whole time
  double net_mean = 0.0;
  double gross_most = 0.0;
  std::uint64_t positions_most = 0;  // at once
  std::uint64_t trades = 0;          // with an interval
  std::uint64_t trades_without_size = 0;
};

struct DrawdownStory {
  double amount = 0.0;       // of realised P&L, >= 0
  std::int64_t peak_ns = 0;  // 0: the period's begin
  std::int64_t trough_ns = 0;
  std::int64_t recovered_ns = 0;  // 0: not yet
  double peak_pnl = 0.0;          // cumulative P&L at the peak
};

struct ModelFigures {
  TradeGroup agreed;        // it wanted the trade's side
  TradeGroup opposed;       // the other side
  TradeGroup abstained;     // neither
  std::uint64_t calls = 0;  // closed trades with a price move where it named a direction
  std::uint64_t right = 0;  // and the price moved that way
};

struct Analysis {
  TradeGroup all;
  std::uint64_t opened = 0;  // in the period
  std::optional<Extreme> best;
  std::optional<Extreme> worst;
  std::vector<double> pnls;  // of closed trades, by close
  std::uint64_t longest_won = 0;
  std::uint64_t longest_lost = 0;
  std::int64_t current_run = 0;  // > 0: won so many in a row; < 0: lost
  std::optional<HoldingTimes> holding;
  std::optional<Exposure> exposure;
  std::optional<DrawdownStory> drawdown;
  std::vector<double> r_multiples;
  std::array<TradeGroup, 24> by_hour;  // of the opening, UTC
  std::uint64_t without_open_time = 0;
  std::map<std::string, ModelFigures> by_model;
  std::map<std::int64_t, double> pnl_by_day;  // realised, by UTC day of the close
};

// Takes trades as they stood at the period's end (as_of), in any order.
class Analyst {
 public:
  // `now_ns`: up to where events are known; open positions are counted until then.
  Analyst(Period period, std::int64_t now_ns, std::size_t models_max)
      : period_(period), now_ns_(now_ns), models_max_(models_max) {}

  void add(std::uint64_t key, const TradeRecord& trade);
  Analysis finish();

 private:
  struct Close {
    std::int64_t time_ns;
    std::uint64_t key;
    double pnl;
    friend bool operator<(const Close& a, const Close& b) {
      return a.time_ns != b.time_ns ? a.time_ns < b.time_ns : a.key < b.key;
    }
  };
  struct Interval {
    std::int64_t from_ns;
    std::int64_t to_ns;
    double notional;  // < 0: short; 0: not known
    int side;
  };

  void add_models(const TradeRecord& trade, const std::optional<double>& pnl);
  void count_runs();
  void find_drawdown();
  void measure_holding();
  void measure_exposure();

  Period period_;
  std::int64_t now_ns_;
  std::size_t models_max_;
  std::vector<Close> closes_;
  std::vector<double> holdings_s_;
  std::vector<Interval> intervals_;
  std::uint64_t without_size_ = 0;
  Analysis out_;
};

}  // namespace ephor::trade_tracker
