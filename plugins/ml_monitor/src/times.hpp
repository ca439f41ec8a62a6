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

// Sum and difference that stay at the ends of the range instead of overflowing.
constexpr std::int64_t time_plus(std::int64_t time_ns, std::int64_t add_ns) {
  std::int64_t out = 0;
  if (!__builtin_add_overflow(time_ns, add_ns, &out)) return out;
  return add_ns > 0 ? INT64_MAX : INT64_MIN;
}
constexpr std::int64_t time_since(std::int64_t older_ns, std::int64_t newer_ns) {
  std::int64_t out = 0;
  if (!__builtin_sub_overflow(newer_ns, older_ns, &out)) return out;
  return newer_ns > older_ns ? INT64_MAX : INT64_MIN;
}

// Start of the UTC hour that holds `time_ns`; defined for every number.
constexpr std::int64_t hour_start(std::int64_t time_ns) {
  const std::int64_t within = (time_ns % kHourNs + kHourNs) % kHourNs;
  return time_ns < kNoTime + 1 + within ? kNoTime + 1 : time_ns - within;
}

}  // namespace ephor::ml_monitor
