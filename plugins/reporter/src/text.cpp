// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

namespace ephor::reporter {
namespace {

constexpr std::string_view kMinus = "\u2212";
constexpr std::string_view kThin = "\u202F";  // narrow, and never broken at
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string grouped(std::string digits) {
  const std::size_t point = std::min(digits.find('.'), digits.size());
  for (std::size_t at = point; at > 3;) {
    at -= 3;
    digits.insert(digits.begin() + static_cast<std::ptrdiff_t>(at), ',');
  }
  return digits;
}

bool is_zero(std::string_view digits) {
  return digits.find_first_not_of("0.") == std::string_view::npos;
}

std::string with_sign(double value, int decimals, bool is_signed) {
  const std::string digits = fixed(std::abs(value), decimals);
  std::string out;
  if (!is_zero(digits)) out = value < 0 ? kMinus : is_signed ? "+" : "";
  out += digits;
  return out;
}

std::string two(unsigned value) {
  return {static_cast<char>('0' + value / 10 % 10), static_cast<char>('0' + value % 10)};
}

struct Local {
  std::chrono::year_month_day date;
  unsigned minute_of_day;
};

Local local_of(std::int64_t time_ns, std::int32_t offset_s) {
  using namespace std::chrono;
  const sys_seconds time =
      floor<seconds>(sys_time<nanoseconds>(nanoseconds(time_ns))) + seconds(offset_s);
  const auto day = floor<days>(time);
  return {year_month_day(day), static_cast<unsigned>((time - day).count() / 60)};
}

std::string clock_text(const Local& local) {
  return two(local.minute_of_day / 60) + ":" + two(local.minute_of_day % 60);
}

std::string day_text(const Local& local) {
  return std::to_string(static_cast<unsigned>(local.date.day())) + " " +
         std::string(kMonths[static_cast<unsigned>(local.date.month()) - 1]);
}

}  // namespace

std::string fixed(double value, int decimals) {
  std::array<char, 400> out{};
  const auto [end, error] =
      std::to_chars(out.data(), out.data() + out.size(), value, std::chars_format::fixed, decimals);
  if (error != std::errc()) return "?";
  return grouped(std::string(out.data(), end));
}

std::string number(double value) {
  const double size = std::abs(value);
  int decimals = 0;
  if (size > 0 && size < 1000) {
    decimals = std::clamp(3 - static_cast<int>(std::floor(std::log10(size))), 0, 6);
  }
  return with_sign(value, decimals, false);
}

std::string money(double value, bool is_signed) { return with_sign(value, 2, is_signed); }

std::string share(double value, bool is_signed) {
  const double percent = value * 100;
  const double size = std::abs(percent);
  const int decimals = size == 0 || size >= 1 ? 1 : size >= 0.1 ? 2 : 3;
  return with_sign(percent, decimals, is_signed) + std::string(kThin) + "%";
}

std::string whole(std::int64_t value) {
  const std::string digits = std::to_string(value);
  std::string out(value < 0 ? kMinus : "");
  out += grouped(value < 0 ? digits.substr(1) : digits);
  return out;
}

std::string milliseconds(double ms) {
  const double size = std::abs(ms);
  if (size >= 10'000) return with_sign(ms / 1000, 1, false) + std::string(kThin) + "s";
  const int decimals = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return with_sign(ms, decimals, false) + std::string(kThin) + "ms";
}

std::string duration(double seconds) {
  const double size = std::abs(seconds);
  if (size < 60) return with_sign(seconds, size < 10 ? 1 : 0, false) + std::string(kThin) + "s";
  const auto minutes = static_cast<std::int64_t>(std::llround(size / 60));
  std::string out(seconds < 0 ? kMinus : "");
  const auto add = [&](std::int64_t count, std::string_view unit) {
    if (!out.empty() && out != kMinus) out += ' ';
    out += whole(count);
    out += kThin;
    out += unit;
  };
  const std::int64_t hours = minutes / 60;
  if (minutes < 60) {
    add(minutes, "min");
  } else if (hours < 48) {
    add(hours, "h");
    if (minutes % 60 != 0) add(minutes % 60, "min");
  } else {
    add(hours / 24, "d");
    if (hours % 24 != 0) add(hours % 24, "h");
  }
  return out;
}

std::string date_time(std::int64_t time_ns, std::int32_t offset_s) {
  const Local local = local_of(time_ns, offset_s);
  return day_text(local) + " " + std::to_string(static_cast<int>(local.date.year())) + " " +
         clock_text(local);
}

std::string short_date_time(std::int64_t time_ns, std::int32_t offset_s) {
  const Local local = local_of(time_ns, offset_s);
  return day_text(local) + " " + clock_text(local);
}

std::string value_text(const Value& value, Format format, std::int32_t offset_s) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    if (format == Format::time) return short_date_time(*integer, offset_s);
    if (format == Format::count || format == Format::text || format == Format::id)
      return whole(*integer);
  }
  double figure = 0.0;
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    figure = static_cast<double>(*integer);
  else if (const auto* real = std::get_if<double>(&value))
    figure = *real;
  else
    return {};
  switch (format) {
    case Format::money:
      return money(figure, false);
    case Format::signed_money:
      return money(figure, true);
    case Format::share:
      return share(figure);
    case Format::signed_share:
      return share(figure, true);
    case Format::milliseconds:
      return milliseconds(figure);
    case Format::seconds:
      return duration(figure);
    case Format::count:
      return whole(static_cast<std::int64_t>(std::llround(figure)));
    default:
      return number(figure);
  }
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Control characters are not allowed in HTML text.
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

}  // namespace ephor::reporter
