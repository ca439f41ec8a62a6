// SPDX-License-Identifier: Apache-2.0
//
// Distances between times. Clients send any date between 1678 and 2261, and two of those can lie
// further apart than 64 bits of nanoseconds with a sign hold.
#pragma once

#include <cstdint>

namespace ephor::metrics {

// The least time there is instead of an overflow. `span_ns` >= 0.
inline std::int64_t earlier(std::int64_t time_ns, std::int64_t span_ns) {
  return time_ns < INT64_MIN + span_ns ? INT64_MIN : time_ns - span_ns;
}

// `to_ns` >= `from_ns`.
inline std::uint64_t ns_between(std::int64_t from_ns, std::int64_t to_ns) {
  return static_cast<std::uint64_t>(to_ns) - static_cast<std::uint64_t>(from_ns);
}
inline double seconds_between(std::int64_t from_ns, std::int64_t to_ns) {
  return static_cast<double>(ns_between(from_ns, to_ns)) * 1e-9;
}

}  // namespace ephor::metrics
