// SPDX-License-Identifier: Apache-2.0
#include "core/logger.hpp"

#include <ephor/abi.h>

#include <array>
#include <atomic>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ephor::host {
namespace {

std::atomic<std::int32_t> current_level{EPHOR_LOG_INFO};

spdlog::logger& logger() {
  static const auto kLogger = [] {
    auto made = std::make_shared<spdlog::logger>("ephor",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v", spdlog::pattern_time_type::utc);
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *kLogger;
}

}  // namespace

void set_log_level(std::int32_t level) { current_level.store(level, std::memory_order_relaxed); }
std::int32_t log_level() { return current_level.load(std::memory_order_relaxed); }

void log(std::int32_t level, std::string_view instance, std::string_view message) {
  if (level < log_level()) return;
  static constexpr std::array kLevels{spdlog::level::trace, spdlog::level::debug,
                                      spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  const std::size_t index = level < 0 ? 0 : std::min<std::size_t>(level, kLevels.size() - 1);
  logger().log(kLevels[index], "[{}] {}", instance, message);
}

}  // namespace ephor::host
