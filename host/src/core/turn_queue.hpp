// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>

namespace ephor::host {

// A lock whose waiters get their turn in the order they came, so that a busy dispatcher cannot
// overtake a waiting query for ever. (Not std::timed_mutex: it is unfair, and the thread sanitizer
// of GCC 12 does not know its timed functions.)
class TurnQueue {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Waits without end if there is no deadline; false at the deadline.
  bool acquire(std::optional<TimePoint> deadline);
  void release();

 private:
  std::mutex mutex_;  // guards waiters_, is_taken_
  std::condition_variable changed_;
  std::list<char> waiters_;  // each waiter finds itself by its iterator; the values mean nothing
  bool is_taken_ = false;
};

}  // namespace ephor::host
