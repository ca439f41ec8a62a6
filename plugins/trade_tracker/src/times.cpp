// SPDX-License-Identifier: Apache-2.0
#include "times.hpp"

#include <chrono>
#include <cstddef>

namespace ephor::trade_tracker {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// Reads digits from the front of a text and takes them off.
class Digits {
 public:
  explicit Digits(std::string_view text) : text_(text) {}
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
    const std::int64_t offset = (*hours * 60 + *minutes) * 60 * kSecond;
    return is_west ? -offset : offset;
  }
  bool is_at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

void put_digits(char* to, std::size_t count, unsigned value) {
  for (; count > 0; value /= 10) to[--count] = static_cast<char>('0' + value % 10);
}

}  // namespace

std::optional<std::int64_t> parse_time(std::string_view text) {
  Digits in(text);
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
      std::chrono::sys_days(date).time_since_epoch().count() * 86'400 * kSecond;
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
  return midnight + ((*hour * 60 + *minute) * 60 + *second) * kSecond + fraction - *zone;
}

std::string format_time(std::int64_t ns) {
  std::int64_t seconds = ns / kSecond;
  std::int64_t fraction = ns % kSecond;
  if (fraction < 0) {
    fraction += kSecond;
    --seconds;
  }
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const auto day_seconds = static_cast<unsigned>((time - days).count());
  std::string out(fraction != 0 ? "0000-00-00T00:00:00.000000000Z" : "0000-00-00T00:00:00Z");
  put_digits(&out[0], 4, static_cast<unsigned>(static_cast<int>(date.year())));
  put_digits(&out[5], 2, static_cast<unsigned>(date.month()));
  put_digits(&out[8], 2, static_cast<unsigned>(date.day()));
  put_digits(&out[11], 2, day_seconds / 3600);
  put_digits(&out[14], 2, day_seconds / 60 % 60);
  put_digits(&out[17], 2, day_seconds % 60);
  if (fraction != 0) put_digits(&out[20], 9, static_cast<unsigned>(fraction));
  return out;
}

}  // namespace ephor::trade_tracker
