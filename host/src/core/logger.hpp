// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace ephor::host {

// The host's own log: lines on standard error, "time level [instance] message". Thread-safe.
// Levels are EPHOR_LOG_*.
void set_log_level(std::int32_t level);
std::int32_t log_level();
void log(std::int32_t level, std::string_view instance, std::string_view message);

inline constexpr std::string_view kHostName = "host";

}  // namespace ephor::host
