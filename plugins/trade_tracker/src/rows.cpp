// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <ephor/times.hpp>

#include "vocabulary.hpp"

namespace ephor::trade_tracker {
namespace {

Cell cell(const std::string& text) { return text.empty() ? Cell::null() : Cell::text(text); }
Cell cell(const std::optional<double>& number) {
  return number ? Cell::real_value(*number) : Cell::null();
}
Cell json_cell(const std::string& text) { return text.empty() ? Cell::null() : Cell::json(text); }
std::string time_text(const std::optional<std::int64_t>& ns) {
  return ns ? format_time(*ns) : std::string();
}

// Takes cells off the front of a row; one that is missing reads as NULL.
class RowReader {
 public:
  explicit RowReader(std::span<const ephor_cell> cells) : cells_(cells) {}
  std::string text() {
    const ephor_cell* found = next();
    if (found == nullptr || found->kind < EPHOR_CELL_TEXT) return {};
    return std::string(to_text(found->bytes));
  }
  std::optional<double> number() {
    const ephor_cell* found = next();
    if (found == nullptr) return std::nullopt;
    if (found->kind == EPHOR_CELL_REAL) return found->real;
    if (found->kind == EPHOR_CELL_INTEGER) return static_cast<double>(found->integer);
    return std::nullopt;
  }
  std::int64_t integer() {
    const ephor_cell* found = next();
    return found != nullptr && found->kind == EPHOR_CELL_INTEGER ? found->integer : 0;
  }
  std::optional<std::int64_t> time_ns() { return parse_time(text()); }

 private:
  const ephor_cell* next() {
    if (at_ >= cells_.size()) return nullptr;
    const ephor_cell* found = &cells_[at_++];
    return found->kind == EPHOR_CELL_NULL ? nullptr : found;
  }
  std::span<const ephor_cell> cells_;
  std::size_t at_ = 0;
};

}  // namespace

const std::string_view kTablesJson = R"({"version": 1, "tables": [
  {"name": "trades", "key": ["trade_id"], "columns": [
    {"name": "trade_id", "type": "text"},
    {"name": "decision_id", "type": "text"},
    {"name": "execution_id", "type": "text"},
    {"name": "order_id", "type": "text"},
    {"name": "correlation_id", "type": "text"},
    {"name": "symbol", "type": "text"},
    {"name": "side", "type": "text"},
    {"name": "status", "type": "text"},
    {"name": "quantity", "type": "real"},
    {"name": "price", "type": "real"},
    {"name": "close_price", "type": "real"},
    {"name": "open_time", "type": "text"},
    {"name": "close_time", "type": "text"},
    {"name": "pnl", "type": "real"},
    {"name": "reported_pnl", "type": "real"},
    {"name": "fees", "type": "real"},
    {"name": "slippage", "type": "real"},
    {"name": "stop_loss", "type": "real"},
    {"name": "take_profit", "type": "real"},
    {"name": "close_reason", "type": "text"},
    {"name": "close_reason_group", "type": "text"},
    {"name": "regime", "type": "text"},
    {"name": "trade_regime", "type": "text"},
    {"name": "decision_regime", "type": "text"},
    {"name": "updated_time", "type": "text"},
    {"name": "first_sequence", "type": "integer"},
    {"name": "trace_id", "type": "text"},
    {"name": "model_votes", "type": "text"},
    {"name": "max_adverse_excursion", "type": "real"},
    {"name": "max_favorable_excursion", "type": "real"},
    {"name": "end_ns", "type": "integer"}],
   "indices": [["first_sequence"], ["decision_id"], ["correlation_id"], ["symbol"], ["end_ns"]],
   "run_dependent": ["first_sequence"]},
  {"name": "trade_decisions", "key": ["decision_id"], "columns": [
    {"name": "decision_id", "type": "text"},
    {"name": "ensemble_id", "type": "text"},
    {"name": "symbol", "type": "text"},
    {"name": "regime", "type": "text"},
    {"name": "final_decision", "type": "text"},
    {"name": "correlation_id", "type": "text"},
    {"name": "actual", "type": "text"},
    {"name": "realised_return", "type": "real"},
    {"name": "decision_time", "type": "text"},
    {"name": "trace_id", "type": "text"},
    {"name": "meta_prediction", "type": "text"},
    {"name": "confidence", "type": "real"},
    {"name": "meta_confidence", "type": "real"},
    {"name": "consensus_level", "type": "real"},
    {"name": "disagreement_score", "type": "real"},
    {"name": "members", "type": "json"},
    {"name": "path", "type": "json"}]},
  {"name": "trade_tracker_ids", "key": ["kind", "chunk"], "columns": [
    {"name": "kind", "type": "integer"},
    {"name": "chunk", "type": "integer"},
    {"name": "ids", "type": "blob"}]}]})";

const std::string_view kTradeColumns =
    "trade_id, decision_id, execution_id, order_id, correlation_id, symbol, side, status, "
    "quantity, "
    "price, close_price, open_time, close_time, reported_pnl, fees, slippage, stop_loss, "
    "take_profit, close_reason, trade_regime, decision_regime, updated_time, first_sequence, "
    "trace_id, model_votes, max_adverse_excursion, max_favorable_excursion";

const std::string_view kDecisionColumns =
    "decision_id, ensemble_id, symbol, regime, final_decision, correlation_id, actual, "
    "realised_return, decision_time, trace_id, meta_prediction, confidence, meta_confidence, "
    "consensus_level, disagreement_score, members, path";

void upsert(const Rows& rows, const TradeRecord& trade) {
  const std::string open_time = time_text(trade.open_ns);
  const std::string close_time = time_text(trade.close_ns);
  const std::string reason_group = normalise_reason(trade.close_reason);
  const std::string updated_time = format_time(trade.updated_ns);
  rows.upsert("trades", {cell(trade.trade_id),
                         cell(trade.decision_id),
                         cell(trade.execution_id),
                         cell(trade.order_id),
                         cell(trade.correlation_id),
                         cell(trade.symbol),
                         cell(trade.side),
                         cell(trade.status),
                         cell(trade.quantity),
                         cell(trade.price),
                         cell(trade.close_price),
                         cell(open_time),
                         cell(close_time),
                         cell(realised_pnl(trade)),
                         cell(trade.pnl),
                         cell(trade.fees),
                         cell(trade.slippage),
                         cell(trade.stop_loss),
                         cell(trade.take_profit),
                         cell(trade.close_reason),
                         cell(reason_group),
                         cell(trade.known_regime()),
                         cell(trade.regime),
                         cell(trade.decision_regime),
                         cell(updated_time),
                         Cell::integer_value(static_cast<std::int64_t>(trade.sequence)),
                         cell(trade.trace_id),
                         cell(trade.model_votes),
                         cell(trade.max_adverse_excursion),
                         cell(trade.max_favorable_excursion),
                         Cell::integer_value(end_of(trade))});
}

void upsert(const Rows& rows, const DecisionRecord& decision) {
  const std::string time = format_time(decision.time_ns);
  rows.upsert(
      "trade_decisions",
      {cell(decision.decision_id), cell(decision.ensemble_id), cell(decision.symbol),
       cell(decision.regime), cell(decision.final_decision), cell(decision.correlation_id),
       cell(decision.actual), cell(decision.realised_return), cell(time), cell(decision.trace_id),
       cell(decision.meta_prediction), cell(decision.confidence), cell(decision.meta_confidence),
       cell(decision.consensus_level), cell(decision.disagreement_score),
       json_cell(decision.members_json), json_cell(decision.path_json)});
}

TradeRecord trade_of(std::span<const ephor_cell> cells) {
  RowReader row(cells);
  TradeRecord trade;
  for (const auto field :
       {&TradeRecord::trade_id, &TradeRecord::decision_id, &TradeRecord::execution_id,
        &TradeRecord::order_id, &TradeRecord::correlation_id, &TradeRecord::symbol,
        &TradeRecord::side, &TradeRecord::status}) {
    trade.*field = row.text();
  }
  trade.quantity = row.number();
  trade.price = row.number();
  trade.close_price = row.number();
  trade.open_ns = row.time_ns();
  trade.close_ns = row.time_ns();
  trade.pnl = row.number();
  trade.fees = row.number();
  trade.slippage = row.number();
  trade.stop_loss = row.number();
  trade.take_profit = row.number();
  trade.close_reason = row.text();
  trade.regime = row.text();
  trade.decision_regime = row.text();
  trade.updated_ns = row.time_ns().value_or(0);
  trade.sequence = static_cast<std::uint64_t>(row.integer());
  trade.trace_id = row.text();
  trade.model_votes = row.text();
  trade.max_adverse_excursion = row.number();
  trade.max_favorable_excursion = row.number();
  return trade;
}

DecisionRecord decision_of(std::span<const ephor_cell> cells) {
  RowReader row(cells);
  DecisionRecord decision;
  for (const auto field :
       {&DecisionRecord::decision_id, &DecisionRecord::ensemble_id, &DecisionRecord::symbol,
        &DecisionRecord::regime, &DecisionRecord::final_decision, &DecisionRecord::correlation_id,
        &DecisionRecord::actual}) {
    decision.*field = row.text();
  }
  decision.realised_return = row.number();
  decision.time_ns = row.time_ns().value_or(0);
  decision.trace_id = row.text();
  decision.meta_prediction = row.text();
  decision.confidence = row.number();
  decision.meta_confidence = row.number();
  decision.consensus_level = row.number();
  decision.disagreement_score = row.number();
  decision.members_json = row.text();
  decision.path_json = row.text();
  return decision;
}

}  // namespace ephor::trade_tracker
