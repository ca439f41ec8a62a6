// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <ephor/times.hpp>
#include <ephor/wilson.hpp>
#include <utility>

#include "statistics.hpp"
#include "vocabulary.hpp"
#include "votes.hpp"

namespace ephor::trade_tracker {
namespace {

Json money_or_null(const TradeGroup& group, const ExactSum& sum) {
  return group.closed_with_pnl() == 0 ? Json() : Json(sum.value());
}

}  // namespace

Json group_json(const TradeGroup& group) {
  const auto interval = wilson_95(group.won, group.won + group.lost);
  return {{"trades", group.trades},
          {"closed", group.closed},
          {"closed_without_pnl", group.closed_without_pnl},
          {"won", group.won},
          {"lost", group.lost},
          {"even", group.even()},
          {"win_rate", number_or_null(win_rate(group))},
          {"win_rate_wilson_95", interval ? Json::array({interval->low, interval->high}) : Json()},
          {"pnl", money_or_null(group, group.pnl)},
          {"gross_profit", money_or_null(group, group.gross_profit)},
          {"gross_loss", money_or_null(group, group.gross_loss)},
          {"profit_factor", number_or_null(profit_factor(group))},
          {"expectancy", number_or_null(expectancy(group))}};
}

namespace {

Json groups_json(const Performance::Groups& groups) {
  Json out = Json::object();
  for (const auto& [name, group] : groups) {
    if (group.trades > 0) out[name] = group_json(group);
  }
  return out;
}

Json curve_json(const EquityCurve& curve, std::size_t points_max) {
  Json points = Json::array();
  for (const EquityPoint& point : curve.sampled(points_max)) {
    points.push_back({{"time", format_time(point.time_ns)}, {"pnl", point.equity}});
  }
  return points;
}

Json drawdown_json(const EquityCurve& curve) {
  const auto deepest = curve.max_drawdown();
  if (!deepest) return nullptr;
  if (deepest->amount == 0.0) return {{"amount", 0.0}, {"peak", nullptr}, {"trough", nullptr}};
  // A peak of 0 before the first trade has no time.
  return {{"amount", deepest->amount},
          {"peak", deepest->peak_ns == 0 ? Json() : Json(format_time(deepest->peak_ns))},
          {"trough", format_time(deepest->trough_ns)}};
}

}  // namespace

Json trade_json(const TradeRecord& trade) {
  const int side = trade.is_long() ? 1 : trade.is_short() ? -1 : 0;
  Json agreed = Json::array();
  Json opposed = Json::array();
  for_each_vote(trade.model_votes, [&](std::string_view model, int direction) {
    if (direction == 0 || side == 0) return;
    (direction == side ? agreed : opposed).push_back(model);
  });
  Json holding_s;
  if (trade.open_ns && trade.close_ns && *trade.close_ns >= *trade.open_ns) {
    holding_s = static_cast<double>(*trade.close_ns - *trade.open_ns) / 1e9;
  }
  return {{"trade_id", trade.trade_id},
          {"decision_id", text_or_null(trade.decision_id)},
          {"execution_id", text_or_null(trade.execution_id)},
          {"order_id", text_or_null(trade.order_id)},
          {"correlation_id", text_or_null(trade.correlation_id)},
          {"symbol", text_or_null(trade.symbol)},
          {"side", text_or_null(trade.side)},
          {"status", text_or_null(trade.status)},
          {"quantity", number_or_null(trade.quantity)},
          {"price", number_or_null(trade.price)},
          {"close_price", number_or_null(trade.close_price)},
          {"open_time", time_or_null(trade.open_ns)},
          {"close_time", time_or_null(trade.close_ns)},
          {"pnl", number_or_null(realised_pnl(trade))},
          {"is_pnl_reported", trade.is_closed() ? Json(trade.pnl.has_value()) : Json()},
          {"fees", number_or_null(trade.fees)},
          {"slippage", number_or_null(trade.slippage)},
          {"stop_loss", number_or_null(trade.stop_loss)},
          {"take_profit", number_or_null(trade.take_profit)},
          {"close_reason", text_or_null(trade.close_reason)},
          {"close_reason_group", text_or_null(normalise_reason(trade.close_reason))},
          {"regime", text_or_null(trade.known_regime())},
          {"trace_id", text_or_null(trade.trace_id)},
          {"holding_s", holding_s},
          {"r_multiple", number_or_null(r_multiple(trade))},
          {"max_adverse_excursion", number_or_null(trade.max_adverse_excursion)},
          {"max_favorable_excursion", number_or_null(trade.max_favorable_excursion)},
          {"models_agreed", std::move(agreed)},
          {"models_opposed", std::move(opposed)},
          {"first_sequence", trade.sequence}};
}

Json decision_json(const DecisionRecord& decision) {
  return {{"decision_id", decision.decision_id},
          {"time", format_time(decision.time_ns)},
          {"ensemble_id", text_or_null(decision.ensemble_id)},
          {"symbol", text_or_null(decision.symbol)},
          {"regime", text_or_null(decision.regime)},
          {"final_decision", text_or_null(decision.final_decision)},
          {"correlation_id", text_or_null(decision.correlation_id)},
          {"trace_id", text_or_null(decision.trace_id)},
          {"confidence", number_or_null(decision.confidence)},
          {"meta_prediction", text_or_null(decision.meta_prediction)},
          {"meta_confidence", number_or_null(decision.meta_confidence)},
          {"consensus_level", number_or_null(decision.consensus_level)},
          {"disagreement_score", number_or_null(decision.disagreement_score)},
          {"path", json_or_null(decision.path_json)},
          {"actual", text_or_null(decision.actual)},
          {"realised_return", number_or_null(decision.realised_return)}};
}

Json performance_json(const Performance& performance, std::size_t curve_points) {
  Json out = group_json(performance.all());
  Json by_status = Json::object();
  for (const auto& [status, trades] : performance.by_status()) {
    if (trades > 0) by_status[status] = trades;
  }
  out["by_status"] = std::move(by_status);
  out["fees"] = performance.trades_with_fees() == 0 ? Json() : Json(performance.fees());
  out["trades_with_fees"] = performance.trades_with_fees();
  out["mean_slippage"] = number_or_null(performance.mean_slippage());
  out["trades_with_slippage"] = performance.trades_with_slippage();
  out["max_drawdown"] = drawdown_json(performance.curve());
  out["by_regime"] = groups_json(performance.by_regime());
  out["by_symbol"] = groups_json(performance.by_symbol());
  out["by_side"] = groups_json(performance.by_side());
  out["by_close_reason"] = groups_json(performance.by_close_reason());
  out["equity_curve"] = curve_json(performance.curve(), curve_points);
  out["closes_folded"] = performance.curve().folded_count();
  out["changes_behind_fold"] = performance.curve().late_count();
  return out;
}

}  // namespace ephor::trade_tracker
