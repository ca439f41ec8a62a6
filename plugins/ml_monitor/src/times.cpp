// SPDX-License-Identifier: Apache-2.0
#include "times.hpp"

#include <chrono>
#include <cstdio>

namespace ephor::ml_monitor {

std::string rfc3339(std::int64_t time_ns) {
  using namespace std::chrono;
  const sys_time<nanoseconds> instant{nanoseconds(time_ns)};
  const sys_days day = floor<days>(instant);
  const year_month_day date(day);
  const hh_mm_ss clock(instant - day);
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
