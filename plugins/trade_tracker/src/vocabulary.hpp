// SPDX-License-Identifier: Apache-2.0
//
// One spelling for what clients spell in many ways.
#pragma once

#include <string>
#include <string_view>

namespace ephor::trade_tracker {

// The side of a position: "buy" for buy, long, enter_long, exit_long, "sell" for the short ones, in
// any case; anything else in lower case.
std::string normalise_side(std::string_view side);

// Lower case; "canceled" is "cancelled".
std::string normalise_status(std::string_view status);

// How far a trade's life has come: 0 pending, 1 open (and unknown words), 2 cancelled or failed,
// 3 closed. An event of a later stage knows more.
int stage_of(std::string_view status);

// Free text with its numbers replaced by '#', so that reasons of one kind are one group:
// "Hard stop-loss triggered at -2.45" -> "Hard stop-loss triggered at #".
std::string normalise_reason(std::string_view reason);

}  // namespace ephor::trade_tracker
