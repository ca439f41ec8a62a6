// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "market.hpp"
#include "models.hpp"

namespace ephor::simulator {

struct Position {
  std::string trade_id;
  std::string decision_id;
  std::string correlation_id;
  Regime regime = Regime::sideways;
  int side = 0;  // +1 long (buy), -1 short (sell)
  double quantity = 0.0;
  double entry_price = 0.0;  // as filled
  double stop_loss = 0.0;
  double take_profit = 0.0;
  double slippage = 0.0;  // paid so far, quote currency, part of the prices
  std::int64_t open_time_ns = 0;
  std::uint64_t open_step = 0;

  template <typename Archive>
  void visit(Archive& archive) {
    archive(trade_id, decision_id, correlation_id, regime, side, quantity, entry_price, stop_loss,
            take_profit, slippage, open_time_ns, open_step);
  }
};

struct ClosedTrade {
  Position position;
  double close_price = 0.0;  // as filled
  double pnl = 0.0;   // side * (close_price - entry_price) * quantity - fees, rounded to 1e-6
  double fees = 0.0;  // both fills
  double slippage = 0.0;
  std::string_view reason;  // stop_loss, take_profit, horizon, reversal
};

// One account that holds at most one position. Prices are whole cents, quantities 1e-6, so whoever
// reads the events gets the same P&L to the last digit that is printed.
class Account {
 public:
  explicit Account(double start_equity) : equity_(start_equity), start_equity_(start_equity) {}

  // Half the equity but never more than half of what it started with: gains are not compounded, so
  // a demo that runs for weeks stays of this world.
  void open(Position position, double mark_price, double slippage_ratio);
  // Closes if the candle touched a level, the horizon is over or `signal` says the opposite.
  std::optional<ClosedTrade> manage(const Candle& candle, std::uint64_t step, Label signal,
                                    double slippage_ratio);

  const Position* position() const { return is_open_ ? &position_ : nullptr; }
  double equity() const { return equity_; }  // realised
  double equity_at(double price) const;      // marked to market
  double exposure_at(double price) const;    // signed notional / equity
  std::uint64_t closed() const { return closed_; }
  std::uint64_t won() const { return won_; }

  template <typename Archive>
  void visit(Archive& archive) {
    archive(equity_, start_equity_, closed_, won_, is_open_, position_);
  }
  bool is_sound() const;

 private:
  ClosedTrade close(double price, double slippage_ratio, std::string_view reason);

  double equity_;
  double start_equity_;
  std::uint64_t closed_ = 0;
  std::uint64_t won_ = 0;
  bool is_open_ = false;
  Position position_;
};

}  // namespace ephor::simulator
