// SPDX-License-Identifier: Apache-2.0
//
// What the models of an ensemble said, kept small.
//
// Votes: one line a model, its first character the direction it wanted ('+' up, '-' down, '0'
// neither), the rest its id. Members: [[model id, prediction, confidence, weight], ...] as JSON, in
// the order they were told.
#pragma once

#include <ephor/events.hpp>
#include <span>
#include <string>
#include <string_view>

namespace ephor::trade_tracker {

// A label as it is, a number as its shortest text.
std::string text_of(const LabelOrNumber& value);

// +1 for buy, long, up, bull... in any case, -1 for their opposites, 0 for hold and for words that
// say no direction; of a number (a score) its sign.
int direction_of(std::string_view label);
int direction_of(const LabelOrNumber& value);

std::string members_json(std::span<const MemberPrediction> members,
                         std::span<const NamedNumber> weights);

std::string votes_of_members(const std::string& members_json);

// Calls `visit(model id, direction)` for each vote.
template <typename Visit>
void for_each_vote(std::string_view votes, Visit&& visit) {
  while (!votes.empty()) {
    const std::size_t end = votes.find('\n');
    const std::string_view line = votes.substr(0, end);
    if (line.size() > 1) visit(line.substr(1), line[0] == '+' ? 1 : line[0] == '-' ? -1 : 0);
    votes = end == std::string_view::npos ? std::string_view() : votes.substr(end + 1);
  }
}
// 2 if the model said nothing.
int vote_of(std::string_view votes, std::string_view model_id);

}  // namespace ephor::trade_tracker
