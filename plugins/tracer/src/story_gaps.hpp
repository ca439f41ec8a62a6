// SPDX-License-Identifier: Apache-2.0
//
// What a story lacks. Pure: events in, JSON out.
#pragma once

#include <cstddef>
#include <ephor/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "story.hpp"

namespace ephor::tracer {

// `spans_known`: how many spans each trace has by its summary. One entry per gap, at most
// kGapsMax, each with its kind, the id it is about and a sentence:
//   missing_parent            a span names a parent that is not in its trace
//   spans_gone                the journal's retention took spans that the summary counted
//   decision_without_trade    decided to act, and neither order, fill nor trade followed
//   order_without_fill        neither filled nor ended otherwise
//   fill_without_order        of an order that nobody told of
//   trade_without_close, trade_without_open
//   prediction_without_outcome
inline constexpr std::size_t kGapsMax = 100;
Json gaps_of(const std::vector<StoryEvent>& events,
             const std::map<std::string, std::size_t>& spans_known);

// The profit and loss of the trades that were closed: {"pnl", "closed_trades"}; null without.
Json pnl_of(const std::vector<StoryEvent>& events);

// One entry per trace id among the events' spans: extent, counts, components.
Json traces_of(const std::vector<StoryEvent>& events);

}  // namespace ephor::tracer
