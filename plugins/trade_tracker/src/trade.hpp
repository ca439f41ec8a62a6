// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ephor::trade_tracker {

// Amounts beyond it are not believed: sums of them could leave the range of double.
inline constexpr double kAmountMax = 1e250;

// A trade as far as it is known; also what one event tells of it. Empty text: not known.
struct TradeRecord {
  std::string trade_id;
  std::string decision_id;
  std::string execution_id;
  std::string order_id;
  std::string correlation_id;
  std::string trace_id;  // 32 hex digits, of the event that carried one
  std::string symbol;
  std::string side;    // normalised
  std::string status;  // normalised
  std::string close_reason;
  std::string regime;           // as the trade itself says
  std::string decision_regime;  // as its decision says
  std::string model_votes;      // as its decision says, see votes.hpp
  std::optional<double> quantity;
  std::optional<double> price;
  std::optional<double> close_price;
  std::optional<double> pnl;  // as reported; net of fees
  std::optional<double> fees;
  std::optional<double> slippage;
  std::optional<double> stop_loss;
  std::optional<double> take_profit;
  std::optional<double> max_adverse_excursion;  // as reported, in the client's unit
  std::optional<double> max_favorable_excursion;
  std::optional<std::int64_t> open_ns;
  std::optional<std::int64_t> close_ns;
  std::int64_t updated_ns = 0;  // time of the event that knew most
  std::uint64_t sequence = 0;   // of its first event in the log: orders lists

  bool is_closed() const { return status == "closed"; }
  bool is_long() const { return side == "buy"; }
  bool is_short() const { return side == "sell"; }
  const std::string& known_regime() const { return regime.empty() ? decision_regime : regime; }
};

// Takes `news` in. Of two events the one of the later stage, then of the later time, is believed
// where both say something; the other fills gaps. So opened and closed may come in any order.
void merge(TradeRecord& trade, const TradeRecord& news);

// Realised P&L of a closed trade: what was reported, else (close price - price) x quantity in the
// direction of its side, less fees. Empty if it is not closed or that cannot be said.
std::optional<double> realised_pnl(const TradeRecord& trade);

// P&L in units of what was risked, |price - stop| x quantity. Empty if either is not known.
std::optional<double> r_multiple(const TradeRecord& trade);

// The trade as it stood at `time_ns`: what closed at or after it is open, and has no P&L yet.
TradeRecord as_of(TradeRecord trade, std::int64_t time_ns);

// When it ended, or the end of time: what a period's question is indexed by.
std::int64_t end_of(const TradeRecord& trade);

// A decision that trades may come from.
struct DecisionRecord {
  std::string decision_id;
  std::string ensemble_id;
  std::string symbol;
  std::string regime;
  std::string final_decision;  // a label, or a number's text
  std::string correlation_id;
  std::string trace_id;
  std::string meta_prediction;
  std::string members_json;  // see votes.hpp; empty: none told
  std::string path_json;     // its decision path as told; empty: none
  std::string actual;        // what came true, empty: not yet known
  std::optional<double> confidence;
  std::optional<double> meta_confidence;
  std::optional<double> consensus_level;
  std::optional<double> disagreement_score;
  std::optional<double> realised_return;
  std::int64_t time_ns = 0;
};

}  // namespace ephor::trade_tracker
