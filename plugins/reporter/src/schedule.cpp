// SPDX-License-Identifier: Apache-2.0
#include "schedule.hpp"

#include <algorithm>
#include <chrono>
#include <ephor/plugin.hpp>
#include <ephor/times.hpp>

namespace ephor::reporter {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kHourS = 3600;
constexpr std::int64_t kDayS = 86'400;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

std::int64_t days_of(std::chrono::year_month_day date) {
  return std::chrono::sys_days(date).time_since_epoch().count();
}
std::chrono::year_month_day date_of(std::int64_t days) {
  return std::chrono::year_month_day(std::chrono::sys_days(std::chrono::days(days)));
}

}  // namespace

Cadence cadence_of(std::string_view word) {
  for (const Cadence one : {Cadence::hourly, Cadence::daily, Cadence::weekly, Cadence::monthly}) {
    if (word == name_of(one)) return one;
  }
  throw Error(
      EPHOR_INVALID,
      "schedule: found \"" + std::string(word) + "\", expected hourly, daily, weekly or monthly",
      "/schedule");
}

std::string_view name_of(Cadence cadence) {
  switch (cadence) {
    case Cadence::hourly:
      return "hourly";
    case Cadence::daily:
      return "daily";
    case Cadence::weekly:
      return "weekly";
    case Cadence::monthly:
      break;
  }
  return "monthly";
}

std::string date_text(std::int64_t days) {
  return format_time(days * kDayS * kSecondNs).substr(0, 10);
}

std::int64_t Schedule::run_date(std::int64_t index) const {
  switch (options_.cadence) {
    case Cadence::hourly:
    case Cadence::daily:
      return index;
    case Cadence::weekly:
      return index * 7 - 3 + options_.weekday;  // 1969-12-29, day -3, was a Monday
    case Cadence::monthly:
      break;
  }
  const std::int64_t year = floor_div(index, 12);
  const auto month = std::chrono::year(static_cast<int>(year)) /
                     std::chrono::month(static_cast<unsigned>(index - year * 12 + 1));
  const auto last = static_cast<unsigned>((month / std::chrono::last).day());
  return days_of(month /
                 std::chrono::day(std::min(last, static_cast<unsigned>(options_.day_of_month))));
}

std::int64_t Schedule::midnight_ns(std::int64_t date) const {
  return zone_.to_utc(date * kDayS) * kSecondNs;
}

Period Schedule::period(std::int64_t index) const {
  Period out;
  out.index = index;
  if (options_.cadence == Cadence::hourly) {
    // Hours of UTC: a local hour that exists twice is two of them.
    out.to_ns = index * kHourS * kSecondNs;
    out.from_ns = out.to_ns - kHourS * kSecondNs;
    out.due_ns = out.to_ns + options_.at_s % kHourS * kSecondNs;
    out.key = format_time(out.from_ns).substr(0, 13);
    return out;
  }
  const std::int64_t date = run_date(index);
  const std::int64_t begin = options_.cadence == Cadence::daily    ? date - 1
                             : options_.cadence == Cadence::weekly ? date - 7
                                                                   : run_date(index - 1);
  out.from_ns = midnight_ns(begin);
  out.to_ns = midnight_ns(date);
  out.due_ns = std::max(out.to_ns, zone_.to_utc(date * kDayS + options_.at_s) * kSecondNs);
  out.key = date_text(begin);
  return out;
}

std::int64_t Schedule::last_due(std::int64_t time_ns) const {
  const std::int64_t utc_s = floor_div(time_ns, kSecondNs);
  const std::int64_t date = floor_div(utc_s + zone_.offset_s(utc_s), kDayS);
  std::int64_t index = date;
  if (options_.cadence == Cadence::hourly) index = floor_div(utc_s, kHourS);
  if (options_.cadence == Cadence::weekly) index = floor_div(date + 3 - options_.weekday, 7);
  if (options_.cadence == Cadence::monthly) {
    const auto day = date_of(date);
    index = static_cast<int>(day.year()) * 12 + static_cast<unsigned>(day.month()) - 1;
  }
  ++index;  // the estimate is right to one
  while (period(index).due_ns > time_ns) --index;
  return index;
}

Period Schedule::last_complete_day(std::int64_t time_ns) const {
  const Schedule days({Cadence::daily, 0, 0, 1}, zone_);
  return days.period(days.last_due(time_ns));
}

std::string Schedule::signature() const {
  return std::string(name_of(options_.cadence)) + "/" + std::to_string(options_.at_s) + "/" +
         std::to_string(options_.weekday) + "/" + std::to_string(options_.day_of_month) + "/" +
         zone_.name();
}

}  // namespace ephor::reporter
