// SPDX-License-Identifier: Apache-2.0
#include "core/turn_queue.hpp"

namespace ephor::host {

bool TurnQueue::acquire(std::optional<TimePoint> deadline) {
  std::unique_lock lock(mutex_);
  if (!is_taken_ && waiters_.empty()) {
    is_taken_ = true;
    return true;
  }
  const auto mine = waiters_.insert(waiters_.end(), '\0');
  const auto is_my_turn = [&] { return !is_taken_ && mine == waiters_.begin(); };
  bool has_turn = true;
  if (deadline)
    has_turn = changed_.wait_until(lock, *deadline, is_my_turn);
  else
    changed_.wait(lock, is_my_turn);
  const bool was_first = mine == waiters_.begin();
  waiters_.erase(mine);
  if (has_turn)
    is_taken_ = true;
  else if (was_first)
    changed_.notify_all();  // the next one may be waiting for this one only
  return has_turn;
}

void TurnQueue::release() {
  bool has_waiters = false;
  {
    const std::scoped_lock lock(mutex_);
    is_taken_ = false;
    has_waiters = !waiters_.empty();
  }
  if (has_waiters) changed_.notify_all();
}

}  // namespace ephor::host
