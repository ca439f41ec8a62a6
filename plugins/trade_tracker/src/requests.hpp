// SPDX-License-Identifier: Apache-2.0
//
// What is asked for. A wrong parameter throws ephor::Error with its pointer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string>

#include "analysis.hpp"
#include "trade.hpp"

namespace ephor::trade_tracker {

// RFC 3339, or nanoseconds since the epoch as a number or digits. Empty if absent.
std::optional<std::int64_t> request_time(const Json& request, std::string_view name);

Period request_period(const Json& request);  // from, to

struct TradeFilter {
  std::string status;
  std::string symbol;
  std::string side;
  std::string regime;
  std::string model;   // that wanted the trade's side
  std::string result;  // won, lost, even, none (no P&L)
  std::string decision_id;
  std::string correlation_id;
  Period period;             // of the close, for what has not ended of the opening
  std::uint64_t before = 0;  // first_sequence below it; 0: from the latest

  explicit TradeFilter(const Json& request);
  bool accepts(const TradeRecord& trade) const;
  // Only status, symbol and before are set: the table can be asked page by page.
  bool is_plain() const;
};

// An order of trades: `name` is one of time, open_time, close_time, pnl, holding, with a leading
// '-' for the greatest first. What has no value stands last.
struct TradeOrder {
  std::string name;
  bool is_descending = false;

  explicit TradeOrder(const Json& request);  // sort; default: the latest first
  bool is_default() const { return name == "time" && is_descending; }
  bool operator()(const TradeRecord& a, const TradeRecord& b) const;
};

}  // namespace ephor::trade_tracker
