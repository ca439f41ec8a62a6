// SPDX-License-Identifier: Apache-2.0
#include "times.hpp"

#include <chrono>
#include <cstdio>

namespace ephor::ml_monitor {

std::string rfc3339(std::int64_t time_ns) {
  using namespace std::chrono;
  // By hand, because floor<days>(time) overflows at the ends of the range.
  constexpr std::int64_t kDayNs = 24 * kHourNs;
  const std::int64_t within = (time_ns % kDayNs + kDayNs) % kDayNs;
  const std::int64_t day_number = time_ns / kDayNs - (time_ns % kDayNs < 0 ? 1 : 0);
  const year_month_day date{sys_days(days(day_number))};
  const hh_mm_ss clock{nanoseconds(within)};
  char text[64];
  const int length = std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()));
  std::string out(text, static_cast<std::size_t>(length));
  if (const auto fraction = clock.subseconds().count(); fraction != 0) {
    std::snprintf(text, sizeof text, ".%09lld", static_cast<long long>(fraction));
    out += text;
    while (out.back() == '0') out.pop_back();
  }
  return out + 'Z';
}

}  // namespace ephor::ml_monitor
