// SPDX-License-Identifier: Apache-2.0
//
// Records as rows of the plugin's tables, and back. The tables are the truth for what is not in
// memory, so a row holds all of its record.
#pragma once

#include <ephor/plugin.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "trade.hpp"

namespace ephor::trade_tracker {

extern const std::string_view kTablesJson;

// Select lists that trade_of and decision_of read.
extern const std::string_view kTradeColumns;
extern const std::string_view kDecisionColumns;

void upsert(const Rows& rows, const TradeRecord& trade);
void upsert(const Rows& rows, const DecisionRecord& decision);

TradeRecord trade_of(std::span<const ephor_cell> cells);
DecisionRecord decision_of(std::span<const ephor_cell> cells);

}  // namespace ephor::trade_tracker
