// SPDX-License-Identifier: Apache-2.0
//
// Records and figures as the JSON of answers. No data is null.
#pragma once

#include <cstddef>
#include <ephor/json.hpp>

#include "performance.hpp"
#include "trade.hpp"

namespace ephor::trade_tracker {

Json group_json(const TradeGroup& group);
Json trade_json(const TradeRecord& trade);
Json decision_json(const DecisionRecord& decision);
// Everything of GET /api/performance that comes from trades; `curve_points`: how many at most.
Json performance_json(const Performance& performance, std::size_t curve_points);

}  // namespace ephor::trade_tracker
