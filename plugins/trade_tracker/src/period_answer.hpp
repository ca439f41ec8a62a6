// SPDX-License-Identifier: Apache-2.0
//
// The part of GET /api/performance that needs all trades of a period at once. Where a figure is
// null, `reasons` says why.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string>

#include "analysis.hpp"
#include "equity.hpp"

namespace ephor::trade_tracker {

// What is known of the account's equity.
struct EquityBase {
  Period period;
  std::int64_t known_to_ns = 0;
  std::string source;                  // empty: not known
  std::string reason;                  // why not
  std::optional<double> equity_first;  // realised, at the period's begin
  const EquityDays* days = nullptr;    // as told, if it is
};

// Adds to `out`, which performance_json made. `is_part`: only some trades of the account.
void add_analysis(Json& out, const Analysis& analysis, const EquityBase& base,
                  double periods_per_year, bool is_part);

}  // namespace ephor::trade_tracker
