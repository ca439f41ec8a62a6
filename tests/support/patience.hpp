// SPDX-License-Identifier: Apache-2.0
//
// How long a test waits for what has to come, and how fast it asks for things to be, is written for
// an ordinary build. EPHOR_SLOWDOWN (set by the presets asan and tsan) says how many times slower
// this one is.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>

namespace ephor::testing {

inline double slowdown() {
  const char* text = std::getenv("EPHOR_SLOWDOWN");
  const double factor = text == nullptr ? 1.0 : std::atof(text);
  return factor > 1.0 ? factor : 1.0;
}

template <typename Duration>
std::chrono::nanoseconds patience(Duration in_an_ordinary_build) {
  const std::chrono::nanoseconds ns = in_an_ordinary_build;
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(static_cast<double>(ns.count()) * slowdown()));
}

}  // namespace ephor::testing
