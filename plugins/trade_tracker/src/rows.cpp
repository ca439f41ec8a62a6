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
    {"name": "first_sequence", "type": "integer"}],
   "indices": [["first_sequence"], ["decision_id"], ["correlation_id"], ["symbol"]]},
  {"name": "trade_decisions", "key": ["decision_id"], "columns": [
    {"name": "decision_id", "type": "text"},
    {"name": "ensemble_id", "type": "text"},
    {"name": "symbol", "type": "text"},
    {"name": "regime", "type": "text"},
    {"name": "final_decision", "type": "text"},
    {"name": "correlation_id", "type": "text"},
    {"name": "actual", "type": "text"},
    {"name": "realised_return", "type": "real"},
    {"name": "decision_time", "type": "text"}]},
  {"name": "trade_tracker_ids", "key": ["kind", "chunk"], "columns": [
    {"name": "kind", "type": "integer"},
    {"name": "chunk", "type": "integer"},
    {"name": "ids", "type": "blob"}]}]})";

const std::string_view kTradeColumns =
    "trade_id, decision_id, execution_id, order_id, correlation_id, symbol, side, status, "
    "quantity, "
    "price, close_price, open_time, close_time, reported_pnl, fees, slippage, stop_loss, "
    "take_profit, close_reason, trade_regime, decision_regime, updated_time, first_sequence";

const std::string_view kDecisionColumns =
    "decision_id, ensemble_id, symbol, regime, final_decision, correlation_id, actual, "
    "realised_return, decision_time";

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
                         Cell::integer_value(static_cast<std::int64_t>(trade.sequence))});
}

void upsert(const Rows& rows, const DecisionRecord& decision) {
  const std::string time = format_time(decision.time_ns);
  rows.upsert("trade_decisions",
              {cell(decision.decision_id), cell(decision.ensemble_id), cell(decision.symbol),
               cell(decision.regime), cell(decision.final_decision), cell(decision.correlation_id),
               cell(decision.actual), cell(decision.realised_return), cell(time)});
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
  return decision;
}

}  // namespace ephor::trade_tracker
