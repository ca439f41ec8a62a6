// SPDX-License-Identifier: Apache-2.0
//
// One trade with all that is joined to it, as the JSON of GET /api/trades/{trade_id}.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <optional>

#include "exact_sum.hpp"
#include "trade.hpp"

namespace ephor::trade_tracker {

// What each model said, as an array: model_id, prediction, confidence, weight, direction (buy,
// sell, null), agreed (with the trade's side), right (the price moved that way while the trade was
// open; null without a direction or a move).
Json models_json(const TradeRecord& trade, const DecisionRecord& decision);

// The orders and fills of a trade.
class ExecutionStory {
 public:
  // `record`: the whole CloudEvents object.
  void add(bool is_fill, std::uint64_t sequence, std::int64_t time_ns, const Json& record);
  // Null if nothing was added.
  Json json() const;

 private:
  Json events_ = Json::array();
  std::uint64_t fills_ = 0;
  ExactSum quantity_;
  ExactSum notional_;
  ExactSum fees_;
  bool has_fees_ = false;
  Json last_ = Json::object();  // of what only the latest says
};

}  // namespace ephor::trade_tracker
