// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ephor/times.hpp>
#include <string>

namespace ephor::ml_monitor {

inline constexpr std::int64_t kHourNs = 3'600'000'000'000;
inline constexpr std::int64_t kNoTime = INT64_MIN;

// RFC 3339 in UTC, with the fraction only where there is one, without its trailing zeros.
inline std::string rfc3339(std::int64_t time_ns) {
  return format_time(time_ns, TimeFraction::shortest);
}

// Start of the UTC hour that holds `time_ns`; defined for every number.
constexpr std::int64_t hour_start(std::int64_t time_ns) {
  const std::int64_t within = (time_ns % kHourNs + kHourNs) % kHourNs;
  return time_ns < kNoTime + 1 + within ? kNoTime + 1 : time_ns - within;
}

}  // namespace ephor::ml_monitor
