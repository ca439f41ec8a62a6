// SPDX-License-Identifier: Apache-2.0
#include "json_text.hpp"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ephor/plugin.hpp>

namespace ephor::simulator {

std::string& ObjectText::member(std::string_view name) {
  if (!is_first_) out_ += ',';
  is_first_ = false;
  append_quoted(out_, name);
  out_ += ':';
  return out_;
}
ObjectText& ObjectText::text(std::string_view name, std::string_view value) {
  append_quoted(member(name), value);
  return *this;
}
ObjectText& ObjectText::number(std::string_view name, double value, int digits) {
  append_number(member(name), value, digits);
  return *this;
}
ObjectText& ObjectText::integer(std::string_view name, std::int64_t value) {
  return raw(name, std::to_string(value));
}
ObjectText& ObjectText::null(std::string_view name) { return raw(name, "null"); }
ObjectText& ObjectText::raw(std::string_view name, std::string_view json) {
  member(name) += json;
  return *this;
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char character : text) {
    if (character == '"' || character == '\\') {
      out += '\\';
      out += character;
    } else if (static_cast<unsigned char>(character) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(character));
      out += escaped;
    } else {
      out += character;
    }
  }
  out += '"';
}

void append_number(std::string& out, double value, int digits) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char text[400];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  std::string_view fixed(text, static_cast<std::size_t>(end - text));
  if (fixed.find('.') != std::string_view::npos) {
    const auto last = fixed.find_last_not_of('0');
    fixed = fixed.substr(0, fixed[last] == '.' ? last : last + 1);
  }
  out += fixed == "-0" ? std::string_view("0") : fixed;
}

std::string time_text(std::int64_t time_ns) {
  using namespace std::chrono;
  const sys_time<nanoseconds> time{nanoseconds(time_ns)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss<nanoseconds> clock(time - day);
  char text[64];
  std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%09dZ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

std::int64_t parse_time_text(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00Z";
  using namespace std::chrono;
  bool is_good = text.size() == kShape.size();
  for (std::size_t at = 0; is_good && at < text.size(); ++at) {
    const bool is_digit = text[at] >= '0' && text[at] <= '9';
    is_good = kShape[at] == '0' ? is_digit : text[at] == kShape[at];
  }
  if (is_good) {
    const auto part = [&](std::size_t from, std::size_t size) {
      int value = 0;
      std::from_chars(text.data() + from, text.data() + from + size, value);
      return value;
    };
    const year_month_day date(year(part(0, 4)), month(static_cast<unsigned>(part(5, 2))),
                              day(static_cast<unsigned>(part(8, 2))));
    const int hour = part(11, 2);
    const int minute = part(14, 2);
    const int second = part(17, 2);
    // Nanoseconds in 64 bits end in 2262; the margin leaves room for the hours simulated.
    if (date.ok() && part(0, 4) >= 1970 && part(0, 4) <= 2200 && hour < 24 && minute < 60 &&
        second < 60) {
      const auto time = sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
      return duration_cast<nanoseconds>(time.time_since_epoch()).count();
    }
  }
  throw Error(EPHOR_INVALID, "found '" + std::string(text) +
                                 "', expected a time of 1970 to 2200 like 2025-01-01T00:00:00Z");
}

}  // namespace ephor::simulator
