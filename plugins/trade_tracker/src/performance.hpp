// SPDX-License-Identifier: Apache-2.0
//
// Trading figures over all trades ever seen. A trade's share is taken out and put in again whenever
// more is known of it, so the totals always equal those of the trades as they stand.
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <optional>
#include <string>

#include "equity_curve.hpp"
#include "exact_sum.hpp"
#include "trade.hpp"

namespace ephor::trade_tracker {

struct TradeGroup {
  std::uint64_t trades = 0;
  std::uint64_t closed = 0;
  std::uint64_t closed_without_pnl = 0;  // neither reported nor computable
  std::uint64_t won = 0;                 // P&L > 0
  std::uint64_t lost = 0;                // P&L < 0
  ExactSum pnl;
  ExactSum gross_profit;
  ExactSum gross_loss;  // <= 0

  std::uint64_t closed_with_pnl() const { return closed - closed_without_pnl; }
  std::uint64_t even() const { return closed_with_pnl() - won - lost; }  // P&L = 0
  void change(bool is_closed, const std::optional<double>& pnl, bool is_added);
  void write(StateWriter& out) const;
  void read(StateReader& in);
};

// Empty where there is nothing to divide by. Wins of wins and losses; even trades stand apart.
std::optional<double> win_rate(const TradeGroup& group);
std::optional<double> profit_factor(const TradeGroup& group);
std::optional<double> expectancy(const TradeGroup& group);  // mean P&L of a closed trade

class Performance {
 public:
  using Groups = std::map<std::string, TradeGroup>;
  static constexpr std::string_view kUnknown = "(unknown)";
  static constexpr std::string_view kOther = "(other)";

  // Beyond `groups_max` names a grouping counts what is new as "(other)".
  Performance(std::size_t groups_max, std::size_t curve_points_max)
      : groups_max_(groups_max), curve_(curve_points_max) {}

  // `key`: the trade's, for the curve.
  void add(std::uint64_t key, const TradeRecord& trade) { change(key, trade, true); }
  void remove(std::uint64_t key, const TradeRecord& trade) { change(key, trade, false); }

  const TradeGroup& all() const { return all_; }
  const std::map<std::string, std::uint64_t>& by_status() const { return by_status_; }
  const Groups& by_regime() const { return by_regime_; }
  const Groups& by_symbol() const { return by_symbol_; }
  const Groups& by_side() const { return by_side_; }
  const Groups& by_close_reason() const { return by_close_reason_; }  // closed trades only
  const EquityCurve& curve() const { return curve_; }
  double fees() const { return fees_.value(); }
  std::uint64_t trades_with_fees() const { return with_fees_; }
  std::optional<double> mean_slippage() const;  // in the client's unit
  std::uint64_t trades_with_slippage() const { return with_slippage_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  void change(std::uint64_t key, const TradeRecord& trade, bool is_added);
  TradeGroup& group_of(Groups& groups, const std::string& name) const;

  std::size_t groups_max_;
  TradeGroup all_;
  std::map<std::string, std::uint64_t> by_status_;
  Groups by_regime_;
  Groups by_symbol_;
  Groups by_side_;
  Groups by_close_reason_;
  EquityCurve curve_;
  ExactSum fees_;
  ExactSum slippage_;
  std::uint64_t with_fees_ = 0;
  std::uint64_t with_slippage_ = 0;
};

}  // namespace ephor::trade_tracker
