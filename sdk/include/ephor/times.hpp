// SPDX-License-Identifier: Apache-2.0
//
// Times as text: RFC 3339 (UTC) to and from nanoseconds since the Unix epoch, without the C
// library's locale, time zone or clock. Free functions, any thread, no throw but for memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ephor {
namespace detail {

inline constexpr std::int64_t kSecondNs = 1'000'000'000;

// Reads digits from the front of a text and takes them off.
class TimeScanner {
 public:
  explicit TimeScanner(std::string_view text) : text_(text) {}
  bool take(char expected) {
    if (text_.empty() || text_.front() != expected) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<int> number(std::size_t digits, int least, int most) {
    if (text_.size() < digits) return std::nullopt;
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return std::nullopt;
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(digits);
    if (value < least || value > most) return std::nullopt;
    return value;
  }
  std::optional<std::int64_t> fraction_ns() {
    std::int64_t value = 0;
    std::size_t digits = 0;
    for (; !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; ++digits) {
      if (digits < 9) value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 9; ++digits) value *= 10;
    return value;
  }
  std::optional<std::int64_t> zone_ns() {
    if (text_.empty() || take('Z') || take('z')) return 0;
    const bool is_west = text_.front() == '-';
    if (!take('+') && !take('-')) return std::nullopt;
    const auto hours = number(2, 0, 23);
    if (!hours || !take(':')) return std::nullopt;
    const auto minutes = number(2, 0, 59);
    if (!minutes) return std::nullopt;
    const std::int64_t offset = (*hours * 60 + *minutes) * 60 * kSecondNs;
    return is_west ? -offset : offset;
  }
  bool is_at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

inline void put_digits(char* to, std::size_t count, unsigned value) {
  for (; count > 0; value /= 10) to[--count] = static_cast<char>('0' + value % 10);
}

}  // namespace detail

// Nanoseconds since the Unix epoch. RFC 3339 with 'T' or a blank, up to nine fractional digits
// (more are cut), zone 'Z', +hh:mm or none (then UTC); a date alone is its midnight. A leap second
// (:60) is the first of the next minute. Empty on anything else. Years 1678 to 2261, so that no
// zone leaves the range of 64 bits.
inline std::optional<std::int64_t> parse_time(std::string_view text) {
  detail::TimeScanner in(text);
  const auto year = in.number(4, 1678, 2261);
  if (!year || !in.take('-')) return std::nullopt;
  const auto month = in.number(2, 1, 12);
  if (!month || !in.take('-')) return std::nullopt;
  const auto day = in.number(2, 1, 31);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t midnight =
      std::chrono::sys_days(date).time_since_epoch().count() * 86'400 * detail::kSecondNs;
  if (in.is_at_end()) return midnight;
  if (!in.take('T') && !in.take('t') && !in.take(' ')) return std::nullopt;
  const auto hour = in.number(2, 0, 23);
  if (!hour || !in.take(':')) return std::nullopt;
  const auto minute = in.number(2, 0, 59);
  if (!minute || !in.take(':')) return std::nullopt;
  const auto second = in.number(2, 0, 60);
  if (!second) return std::nullopt;
  std::int64_t fraction = 0;
  if (in.take('.')) {
    const auto read = in.fraction_ns();
    if (!read) return std::nullopt;
    fraction = *read;
  }
  const auto zone = in.zone_ns();
  if (!zone || !in.is_at_end()) return std::nullopt;
  return midnight + ((*hour * 60 + *minute) * 60 + *second) * detail::kSecondNs + fraction - *zone;
}

enum class TimeFraction {
  nine_digits,  // "2017-11-07T06:29:00.500000000Z": sorts as text among its kind
  shortest,     // "2017-11-07T06:29:00.5Z"
};

// "2017-11-07T06:29:00.072608193Z"; no fraction where it is zero. Defined for every number; what
// lies in the years 1678 to 2261 is read back by parse_time to the nanosecond.
inline std::string format_time(std::int64_t ns, TimeFraction style = TimeFraction::nine_digits) {
  std::int64_t seconds = ns / detail::kSecondNs;
  std::int64_t fraction = ns % detail::kSecondNs;
  if (fraction < 0) {
    fraction += detail::kSecondNs;
    --seconds;
  }
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const auto day_seconds = static_cast<unsigned>((time - days).count());
  std::string out(fraction != 0 ? "0000-00-00T00:00:00.000000000Z" : "0000-00-00T00:00:00Z");
  detail::put_digits(&out[0], 4, static_cast<unsigned>(static_cast<int>(date.year())));
  detail::put_digits(&out[5], 2, static_cast<unsigned>(date.month()));
  detail::put_digits(&out[8], 2, static_cast<unsigned>(date.day()));
  detail::put_digits(&out[11], 2, day_seconds / 3600);
  detail::put_digits(&out[14], 2, day_seconds / 60 % 60);
  detail::put_digits(&out[17], 2, day_seconds % 60);
  if (fraction == 0) return out;
  detail::put_digits(&out[20], 9, static_cast<unsigned>(fraction));
  if (style == TimeFraction::shortest) {
    out.pop_back();
    out.resize(out.find_last_not_of('0') + 1);
    out += 'Z';
  }
  return out;
}

inline double to_milliseconds(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace ephor
