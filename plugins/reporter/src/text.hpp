// SPDX-License-Identifier: Apache-2.0
//
// Values as people read them: U+2212 for minus, commas between thousands, a thin space before a
// unit, en dash for no data. The same bytes on every machine and locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model.hpp"

namespace ephor::reporter {

inline constexpr std::string_view kNoData = "no data";

// `decimals` 0 to 12; without a grouping for numbers below 1000.
std::string fixed(double value, int decimals);
// Four significant digits at least, none behind the point from 1000 on.
std::string number(double value);
std::string money(double value, bool is_signed);
std::string share(double value, bool is_signed = false);  // 0.587: "58.7 %"
std::string whole(std::int64_t value);
std::string milliseconds(double ms);
std::string duration(double seconds);  // "16 h 53 min"

// "13 Nov 2017 13:07"; `offset_s`: of the zone, east positive.
std::string date_time(std::int64_t time_ns, std::int32_t offset_s);
std::string short_date_time(std::int64_t time_ns, std::int32_t offset_s);  // "13 Nov 13:07"

// Empty if there is no data.
std::string value_text(const Value& value, Format format, std::int32_t offset_s);

std::string escape_html(std::string_view text);

}  // namespace ephor::reporter
