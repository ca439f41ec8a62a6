// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "event/times.hpp"

namespace ephor::host {

// Nanoseconds since the Unix epoch: the one place where the host asks what time it is. For
// deadlines and durations there is monotonic_ns().
inline std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace ephor::host
