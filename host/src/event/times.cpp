// SPDX-License-Identifier: Apache-2.0
#include "event/times.hpp"

#include <array>
#include <chrono>
#include <cstdio>

namespace ephor::host {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

// Days since 1970-01-01 of a proleptic Gregorian date; Howard Hinnant, "chrono-Compatible
// Low-Level Date Algorithms", days_from_civil.
constexpr std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<std::int64_t>(day_of_era) - 719468;
}

struct Civil {
  std::int64_t year;
  unsigned month;
  unsigned day;
};

constexpr Civil civil_from_days(std::int64_t days) {
  days += 719468;
  const std::int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  return {static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

constexpr unsigned days_in_month(std::int64_t year, unsigned month) {
  constexpr std::array<unsigned, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && is_leap ? 29 : kDays[month - 1];
}

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(char wanted) {
    if (peek() != wanted || at_end()) return false;
    ++at_;
    return true;
  }
  bool digits(unsigned count, std::int64_t& value) {
    if (text_.size() - at_ < count) return false;
    value = 0;
    for (unsigned i = 0; i < count; ++i, ++at_) {
      const unsigned digit = static_cast<unsigned char>(text_[at_]) - '0';
      if (digit > 9) return false;
      value = value * 10 + digit;
    }
    return true;
  }
  bool digit(std::int64_t& value) { return digits(1, value); }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// Two digits as a number; above 99 if one is none.
constexpr unsigned two_digits(const char* at) {
  const unsigned tens = static_cast<unsigned char>(at[0]) - '0';
  const unsigned ones = static_cast<unsigned char>(at[1]) - '0';
  return tens > 9 || ones > 9 ? 100 : tens * 10 + ones;
}

// "2017-11-07T06:29:00.072608193Z" with one to nine fractional digits, what nearly every event
// carries: a third of the general way's cost. Empty for any other text, good or bad.
std::optional<ParsedTime> parse_common(std::string_view text) {
  constexpr std::size_t kFraction = 20;
  if (text.size() < kFraction + 2 || text.size() > kFraction + 10 || text.back() != 'Z')
    return std::nullopt;
  const char* at = text.data();
  if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' ||
      at[19] != '.') {
    return std::nullopt;
  }
  const unsigned century = two_digits(at);
  const unsigned in_century = two_digits(at + 2);
  const unsigned month = two_digits(at + 5);
  const unsigned day = two_digits(at + 8);
  const unsigned hour = two_digits(at + 11);
  const unsigned minute = two_digits(at + 14);
  const unsigned second = two_digits(at + 17);
  const std::int64_t year = century * 100 + in_century;
  if (century > 22 || in_century > 99 || year < 1678 || year > 2261 || month < 1 || month > 12 ||
      day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  std::int64_t fraction_ns = 0;
  std::int64_t scale = kSecondNs;
  for (const char c : text.substr(kFraction, text.size() - kFraction - 1)) {
    const unsigned digit = static_cast<unsigned char>(c) - '0';
    if (digit > 9) return std::nullopt;
    scale /= 10;
    fraction_ns += digit * scale;
  }
  const std::int64_t seconds =
      days_from_civil(year, month, day) * 86'400 + hour * 3600 + minute * 60 + second;
  return ParsedTime{seconds * kSecondNs + fraction_ns, false};
}

}  // namespace

std::optional<ParsedTime> parse_time(std::string_view text) {
  if (const auto common = parse_common(text)) return common;
  Cursor cursor(text);
  std::int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, fraction_ns = 0;
  if (!cursor.digits(4, year) || !cursor.take('-') || !cursor.digits(2, month) ||
      !cursor.take('-') || !cursor.digits(2, day)) {
    return std::nullopt;
  }
  if (year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 ||
      day > days_in_month(year, static_cast<unsigned>(month))) {
    return std::nullopt;
  }
  const std::int64_t days =
      days_from_civil(year, static_cast<unsigned>(month), static_cast<unsigned>(day));
  if (cursor.at_end()) return ParsedTime{days * 86'400 * kSecondNs, true};

  if (!cursor.take('T') && !cursor.take('t') && !cursor.take(' ')) return std::nullopt;
  if (!cursor.digits(2, hour) || !cursor.take(':') || !cursor.digits(2, minute))
    return std::nullopt;
  if (cursor.take(':') && !cursor.digits(2, second)) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;  // 60: a leap second
  if (cursor.take('.') || cursor.take(',')) {
    std::int64_t digit = 0;
    std::int64_t scale = kSecondNs / 10;
    if (!cursor.digit(digit)) return std::nullopt;
    do {
      fraction_ns += digit * scale;
      scale /= 10;
    } while (cursor.digit(digit));
  }
  std::int64_t offset_s = 0;
  bool is_naive = false;
  if (cursor.take('Z') || cursor.take('z')) {
  } else if (cursor.peek() == '+' || cursor.peek() == '-') {
    const std::int64_t sign = cursor.peek() == '-' ? -1 : 1;
    cursor.take(cursor.peek());
    std::int64_t offset_hour = 0, offset_minute = 0;
    if (!cursor.digits(2, offset_hour)) return std::nullopt;
    cursor.take(':');
    if (!cursor.digits(2, offset_minute) || offset_hour > 23 || offset_minute > 59) {
      return std::nullopt;
    }
    offset_s = sign * (offset_hour * 3600 + offset_minute * 60);
  } else {
    is_naive = true;
  }
  if (!cursor.at_end()) return std::nullopt;
  const std::int64_t seconds = days * 86'400 + hour * 3600 + minute * 60 + second - offset_s;
  return ParsedTime{seconds * kSecondNs + fraction_ns, is_naive};
}

std::string format_time(std::int64_t ns) {
  std::int64_t seconds = ns / kSecondNs;
  std::int64_t fraction = ns % kSecondNs;
  if (fraction < 0) {
    fraction += kSecondNs;
    --seconds;
  }
  std::int64_t days = seconds / 86'400;
  std::int64_t in_day = seconds % 86'400;
  if (in_day < 0) {
    in_day += 86'400;
    --days;
  }
  const Civil civil = civil_from_days(days);
  std::array<char, 48> text{};
  int size = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d",
                           static_cast<int>(civil.year), civil.month, civil.day,
                           static_cast<int>(in_day / 3600), static_cast<int>(in_day / 60 % 60),
                           static_cast<int>(in_day % 60));
  if (fraction != 0) {
    size += std::snprintf(text.data() + size, text.size() - static_cast<std::size_t>(size),
                          ".%09lld", static_cast<long long>(fraction));
  }
  text[static_cast<std::size_t>(size)] = 'Z';
  return std::string(text.data(), static_cast<std::size_t>(size) + 1);
}

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace ephor::host
