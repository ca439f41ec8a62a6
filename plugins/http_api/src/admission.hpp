// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ephor::http_api {

// So many at a time, so many waiting, nobody longer than a bound; the rest is turned away at once.
class Gate {
 public:
  Gate(int running_max, int waiting_max) : running_max_(running_max), waiting_max_(waiting_max) {}

  bool enter(std::chrono::milliseconds longest_wait) {
    std::unique_lock lock(mutex_);
    if (running_ >= running_max_) {
      if (waiting_ >= waiting_max_) return false;
      ++waiting_;
      const bool is_free =
          freed_.wait_for(lock, longest_wait, [this] { return running_ < running_max_; });
      --waiting_;
      if (!is_free) return false;
    }
    ++running_;
    return true;
  }
  void leave() {
    {
      std::lock_guard lock(mutex_);
      --running_;
    }
    freed_.notify_one();
  }

  int waiting() {
    std::lock_guard lock(mutex_);
    return waiting_;
  }

  // Leaves when it dies, if it came in.
  class Pass {
   public:
    Pass(Gate& gate, std::chrono::milliseconds longest_wait)
        : gate_(gate), is_in_(gate.enter(longest_wait)) {}
    ~Pass() {
      if (is_in_) gate_.leave();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    explicit operator bool() const { return is_in_; }

   private:
    Gate& gate_;
    bool is_in_;
  };

 private:
  const int running_max_;
  const int waiting_max_;
  std::mutex mutex_;  // guards running_, waiting_
  std::condition_variable freed_;
  int running_ = 0;
  int waiting_ = 0;
};

// Bytes of bodies in memory, all requests together.
class Budget {
 public:
  explicit Budget(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // What one request holds; given back when it dies.
  class Share {
   public:
    explicit Share(Budget& budget) : budget_(budget) {}
    ~Share() { budget_.used_ -= held_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    // Raises the share to `bytes`. False, and unchanged, if that is beyond the budget.
    bool raise_to(std::uint64_t bytes) {
      if (bytes <= held_) return true;
      const std::uint64_t more = bytes - held_;
      if (budget_.used_.fetch_add(more) + more > budget_.bytes_max_) {
        budget_.used_ -= more;
        return false;
      }
      held_ = bytes;
      return true;
    }

   private:
    Budget& budget_;
    std::uint64_t held_ = 0;
  };

 private:
  const std::uint64_t bytes_max_;
  std::atomic<std::uint64_t> used_{0};
};

}  // namespace ephor::http_api
