// SPDX-License-Identifier: Apache-2.0
#include "performance.hpp"

#include "vocabulary.hpp"

namespace ephor::trade_tracker {
namespace {

void count(std::uint64_t& counter, bool is_added) { counter += is_added ? 1 : std::uint64_t(-1); }

void write_groups(StateWriter& out, const Performance::Groups& groups) {
  out.varint(groups.size());
  for (const auto& [name, group] : groups) {
    out.text(name);
    group.write(out);
  }
}
void read_groups(StateReader& in, Performance::Groups& groups) {
  groups.clear();
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::string name = in.text();
    groups[name].read(in);
  }
}

}  // namespace

void TradeGroup::change(bool is_closed, const std::optional<double>& value, bool is_added) {
  count(trades, is_added);
  if (!is_closed) return;
  count(closed, is_added);
  if (!value) {
    count(closed_without_pnl, is_added);
    return;
  }
  const double signed_value = is_added ? *value : -*value;
  pnl.add(signed_value);
  if (*value > 0.0) {
    count(won, is_added);
    gross_profit.add(signed_value);
  } else if (*value < 0.0) {
    count(lost, is_added);
    gross_loss.add(signed_value);
  }
}

void TradeGroup::write(StateWriter& out) const {
  out.varint(trades).varint(closed).varint(closed_without_pnl).varint(won).varint(lost);
  pnl.write(out);
  gross_profit.write(out);
  gross_loss.write(out);
}

void TradeGroup::read(StateReader& in) {
  trades = in.varint();
  closed = in.varint();
  closed_without_pnl = in.varint();
  won = in.varint();
  lost = in.varint();
  pnl.read(in);
  gross_profit.read(in);
  gross_loss.read(in);
}

std::optional<double> win_rate(const TradeGroup& group) {
  if (group.won + group.lost == 0) return std::nullopt;
  return static_cast<double>(group.won) / static_cast<double>(group.won + group.lost);
}

std::optional<double> profit_factor(const TradeGroup& group) {
  if (group.lost == 0) return std::nullopt;
  return group.gross_profit.value() / -group.gross_loss.value();
}

std::optional<double> expectancy(const TradeGroup& group) {
  if (group.closed_with_pnl() == 0) return std::nullopt;
  return group.pnl.value() / static_cast<double>(group.closed_with_pnl());
}

std::optional<double> Performance::mean_slippage() const {
  if (with_slippage_ == 0) return std::nullopt;
  return slippage_.value() / static_cast<double>(with_slippage_);
}

TradeGroup& Performance::group_of(Groups& groups, const std::string& name) const {
  const std::string known(name.empty() ? std::string(kUnknown) : name);
  if (const auto found = groups.find(known); found != groups.end()) return found->second;
  // Names never leave, so a trade is taken out of the group it was put in.
  return groups.size() < groups_max_ ? groups[known] : groups[std::string(kOther)];
}

void Performance::change(std::uint64_t key, const TradeRecord& trade, bool is_added) {
  const bool is_closed = trade.is_closed();
  const std::optional<double> pnl = realised_pnl(trade);
  all_.change(is_closed, pnl, is_added);
  count(by_status_[trade.status], is_added);
  group_of(by_regime_, trade.known_regime()).change(is_closed, pnl, is_added);
  group_of(by_symbol_, trade.symbol).change(is_closed, pnl, is_added);
  group_of(by_side_, trade.side).change(is_closed, pnl, is_added);
  if (is_closed) {
    group_of(by_close_reason_, normalise_reason(trade.close_reason)).change(true, pnl, is_added);
  }
  if (trade.fees) {
    fees_.add(is_added ? *trade.fees : -*trade.fees);
    count(with_fees_, is_added);
  }
  if (trade.slippage) {
    slippage_.add(is_added ? *trade.slippage : -*trade.slippage);
    count(with_slippage_, is_added);
  }
  if (!pnl || !trade.close_ns) return;
  if (is_added) {
    curve_.add(*trade.close_ns, key, *pnl);
  } else {
    curve_.remove(*trade.close_ns, key, *pnl);
  }
}

void Performance::write(StateWriter& out) const {
  all_.write(out);
  out.varint(by_status_.size());
  for (const auto& [status, trades] : by_status_) out.text(status).varint(trades);
  write_groups(out, by_regime_);
  write_groups(out, by_symbol_);
  write_groups(out, by_side_);
  write_groups(out, by_close_reason_);
  curve_.write(out);
  fees_.write(out);
  slippage_.write(out);
  out.varint(with_fees_).varint(with_slippage_);
}

void Performance::read(StateReader& in) {
  all_.read(in);
  by_status_.clear();
  for (std::size_t left = in.count(2); left > 0; --left) {
    const std::string status = in.text();
    by_status_[status] = in.varint();
  }
  read_groups(in, by_regime_);
  read_groups(in, by_symbol_);
  read_groups(in, by_side_);
  read_groups(in, by_close_reason_);
  curve_.read(in);
  fees_.read(in);
  slippage_.read(in);
  with_fees_ = in.varint();
  with_slippage_ = in.varint();
}

}  // namespace ephor::trade_tracker
