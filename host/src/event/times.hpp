// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ephor::host {

struct ParsedTime {
  std::int64_t ns = 0;    // since the Unix epoch, as if UTC when `is_naive`
  bool is_naive = false;  // the text named no zone
};

// RFC 3339 with 0 to 9 fractional digits (more are cut), 'T', 't' or a blank between date and time,
// zone 'Z', 'z', ±hh:mm or none; also a date alone. Years 1678 to 2261. Empty on anything else.
std::optional<ParsedTime> parse_time(std::string_view text);

// "2017-11-07T06:29:00.072608193Z": nine digits, or none when the fraction is zero.
std::string format_time(std::int64_t ns);

// For durations and deadlines; its zero means nothing.
std::int64_t monotonic_ns();

}  // namespace ephor::host
