// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "bus/duration_histogram.hpp"
#include "event/times.hpp"

namespace ephor::host {

// How long an instance's handler takes: one begin() and end() around each slice, on the thread that
// delivers; the rest from any thread.
class SubscriptionStats {
 public:
  void begin() { since_ns_.store(monotonic_ns(), std::memory_order_relaxed); }
  // How long the slice took.
  std::int64_t end() {
    const std::int64_t took_ns = monotonic_ns() - since_ns_.load(std::memory_order_relaxed);
    handler_time_.record(took_ns);
    since_ns_.store(0, std::memory_order_relaxed);
    return took_ns;
  }

  // Per slice of at most 256 events.
  const DurationHistogram& handler_time() const { return handler_time_; }
  // For how long the slice in hand has been with the handler; 0: none is.
  std::int64_t in_handler_ns() const {
    const std::int64_t since_ns = since_ns_.load(std::memory_order_relaxed);
    return since_ns == 0 ? 0 : monotonic_ns() - since_ns;
  }

 private:
  std::atomic<std::int64_t> since_ns_{0};
  DurationHistogram handler_time_;
};

}  // namespace ephor::host
