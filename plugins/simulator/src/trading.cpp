// SPDX-License-Identifier: Apache-2.0
#include "trading.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::simulator {
namespace {

constexpr double kFeeRate = 0.0002;  // of the notional, per fill
constexpr double kStopLossRatio = 0.004;
constexpr double kTakeProfitRatio = 0.006;
constexpr double kLeastNotional = 1.0;

double to_cents(double price) { return std::round(price * 100.0) / 100.0; }
double to_millionths(double amount) { return std::round(amount * 1e6) / 1e6; }

}  // namespace

void Account::open(Position position, double mark_price, double slippage_ratio) {
  const double notional = 0.5 * std::min(equity_, start_equity_);
  if (notional < kLeastNotional) return;
  position.entry_price = to_cents(mark_price * (1.0 + position.side * slippage_ratio));
  position.quantity = to_millionths(notional / position.entry_price);
  if (position.quantity <= 0.0) return;
  position.stop_loss = to_cents(position.entry_price * (1.0 - position.side * kStopLossRatio));
  position.take_profit = to_cents(position.entry_price * (1.0 + position.side * kTakeProfitRatio));
  position.slippage = std::abs(position.entry_price - mark_price) * position.quantity;
  position_ = std::move(position);
  is_open_ = true;
}

std::optional<ClosedTrade> Account::manage(const Candle& candle, std::uint64_t step, Label signal,
                                           double slippage_ratio) {
  if (!is_open_) return std::nullopt;
  const int side = position_.side;
  const double worst = side > 0 ? candle.low : candle.high;
  const double best = side > 0 ? candle.high : candle.low;
  // Within one candle the order of its extremes is unknown: assume the worse one came first.
  if (side * (worst - position_.stop_loss) <= 0.0) {
    // A gap fills at the open, not at the level that was jumped over.
    const double level = side > 0 ? std::min(position_.stop_loss, candle.open)
                                  : std::max(position_.stop_loss, candle.open);
    return close(level, slippage_ratio, "stop_loss");
  }
  if (side * (best - position_.take_profit) >= 0.0) {
    return close(position_.take_profit, 0.0, "take_profit");  // a limit order does not slip
  }
  if (step >= position_.open_step + Market::kHorizon) {
    return close(candle.close, slippage_ratio, "horizon");
  }
  const Label opposite = side > 0 ? Label::sell : Label::buy;
  if (signal == opposite) return close(candle.close, slippage_ratio, "reversal");
  return std::nullopt;
}

ClosedTrade Account::close(double price, double slippage_ratio, std::string_view reason) {
  ClosedTrade closed;
  closed.close_price = to_cents(price * (1.0 - position_.side * slippage_ratio));
  const double quantity = position_.quantity;
  closed.fees = to_millionths(kFeeRate * quantity * (position_.entry_price + closed.close_price));
  closed.pnl = to_millionths(
      position_.side * (closed.close_price - position_.entry_price) * quantity - closed.fees);
  closed.slippage =
      to_millionths(position_.slippage + std::abs(closed.close_price - price) * quantity);
  closed.reason = reason;
  closed.position = std::move(position_);
  position_ = {};
  is_open_ = false;
  equity_ = to_millionths(equity_ + closed.pnl);
  ++closed_;
  if (closed.pnl > 0.0) ++won_;
  return closed;
}

double Account::equity_at(double price) const {
  if (!is_open_) return equity_;
  return equity_ + position_.side * (price - position_.entry_price) * position_.quantity;
}

double Account::exposure_at(double price) const {
  if (!is_open_) return 0.0;
  return position_.side * price * position_.quantity / equity_at(price);
}

bool Account::is_sound() const {
  return start_equity_ > 0.0 &&
         (!is_open_ || ((position_.side == 1 || position_.side == -1) && position_.quantity > 0.0 &&
                        position_.entry_price > 0.0));
}

}  // namespace ephor::simulator
