// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ephor::trade_tracker {

// Nanoseconds since the Unix epoch. RFC 3339 with 'T' or a blank, up to nine fractional digits
// (more are cut), zone 'Z', +hh:mm or none (then UTC); a date alone is its midnight. Empty on
// anything else. Years 1678 to 2261.
std::optional<std::int64_t> parse_time(std::string_view text);

// "2017-11-07T06:29:00.072608193Z": nine digits, or none when the fraction is zero.
std::string format_time(std::int64_t ns);

inline double milliseconds(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace ephor::trade_tracker
