// SPDX-License-Identifier: Apache-2.0
#include "trade.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "vocabulary.hpp"

namespace ephor::trade_tracker {
namespace {

void take(std::string& field, const std::string& news, bool is_believed) {
  if (!news.empty() && (is_believed || field.empty())) field = news;
}
template <typename Value>
void take(std::optional<Value>& field, const std::optional<Value>& news, bool is_believed) {
  if (news && (is_believed || !field)) field = news;
}

}  // namespace

void merge(TradeRecord& trade, const TradeRecord& news) {
  const int stage = stage_of(trade.status);
  const int news_stage = stage_of(news.status);
  const bool is_believed = trade.status.empty() || std::tie(news_stage, news.updated_ns) >=
                                                       std::tie(stage, trade.updated_ns);
  const auto take_text = [&](std::string TradeRecord::*field) {
    take(trade.*field, news.*field, is_believed);
  };
  const auto take_number = [&](std::optional<double> TradeRecord::*field) {
    take(trade.*field, news.*field, is_believed);
  };
  for (const auto field :
       {&TradeRecord::decision_id, &TradeRecord::execution_id, &TradeRecord::order_id,
        &TradeRecord::correlation_id, &TradeRecord::trace_id, &TradeRecord::symbol,
        &TradeRecord::side, &TradeRecord::status, &TradeRecord::close_reason, &TradeRecord::regime,
        &TradeRecord::decision_regime, &TradeRecord::model_votes}) {
    take_text(field);
  }
  for (const auto field :
       {&TradeRecord::quantity, &TradeRecord::price, &TradeRecord::close_price, &TradeRecord::pnl,
        &TradeRecord::fees, &TradeRecord::slippage, &TradeRecord::stop_loss,
        &TradeRecord::take_profit, &TradeRecord::max_adverse_excursion,
        &TradeRecord::max_favorable_excursion}) {
    take_number(field);
  }
  take(trade.open_ns, news.open_ns, is_believed);
  take(trade.close_ns, news.close_ns, is_believed);
  if (is_believed) trade.updated_ns = news.updated_ns;
  trade.sequence = trade.sequence == 0 ? news.sequence : std::min(trade.sequence, news.sequence);
}

std::optional<double> realised_pnl(const TradeRecord& trade) {
  if (!trade.is_closed()) return std::nullopt;
  if (trade.pnl) return trade.pnl;
  const bool is_long = trade.side == "buy";
  if (!trade.price || !trade.close_price || !trade.quantity) return std::nullopt;
  if (!is_long && trade.side != "sell") return std::nullopt;
  const double move = (*trade.close_price - *trade.price) * *trade.quantity;
  const double pnl = (is_long ? move : -move) - trade.fees.value_or(0.0);
  if (!(std::abs(pnl) <= kAmountMax)) return std::nullopt;
  return pnl;
}

std::optional<double> r_multiple(const TradeRecord& trade) {
  const std::optional<double> pnl = realised_pnl(trade);
  if (!pnl || !trade.price || !trade.stop_loss || !trade.quantity) return std::nullopt;
  const double risk = std::abs((*trade.price - *trade.stop_loss) * *trade.quantity);
  if (!(risk > 0.0) || !std::isfinite(*pnl / risk)) return std::nullopt;
  return *pnl / risk;
}

TradeRecord as_of(TradeRecord trade, std::int64_t time_ns) {
  if (stage_of(trade.status) < 2 || !trade.close_ns || *trade.close_ns < time_ns) return trade;
  trade.status = "open";
  trade.close_reason.clear();
  trade.close_ns.reset();
  for (const auto field :
       {&TradeRecord::close_price, &TradeRecord::pnl, &TradeRecord::fees, &TradeRecord::slippage,
        &TradeRecord::max_adverse_excursion, &TradeRecord::max_favorable_excursion}) {
    (trade.*field).reset();
  }
  return trade;
}

std::int64_t end_of(const TradeRecord& trade) {
  if (stage_of(trade.status) < 2 || !trade.close_ns) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return *trade.close_ns;
}

}  // namespace ephor::trade_tracker
