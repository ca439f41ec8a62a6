// SPDX-License-Identifier: Apache-2.0
//
// How dispatcher threads sleep and are woken. A publisher pays one load when nobody sleeps, and one
// futex call per sleeper and batch otherwise; it never wakes anyone for a single event of a batch.
//
//   while (is_running) {
//     bool has_delivered = false;
//     for (Reader* reader : mine) has_delivered |= serve(*reader);
//     if (!has_delivered) waker.wait([&] { return any reader has_more() || !is_running; });
//   }
//
// Why no wake-up is lost. The sleeper does: parked := 1; look for work; sleep while parked == 1.
// The waker does: make the work visible; if parked == 1, set it to 0 and wake. All four accesses
// are seq_cst, so they have one order: if the sleeper's look comes before the work is visible, then
// parked := 1 comes before the waker's look at it, which therefore sees 1. The kernel compares
// `parked` with 1 again before it sleeps, which closes the gap between the sleeper's look and its
// sleep. For work guarded by a mutex the same follows from the order of the two critical sections.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace ephor::host {

inline constexpr std::int64_t kWaitForever = -1;

// Sleeps while `word` holds `value`, at most `timeout_ns`; may return early.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                std::int64_t timeout_ns);
void futex_wake(const std::atomic<std::uint32_t>& word, int sleepers_max);

class Waker;

// The sleepers that one publisher wakes.
class WakerGroup {
 public:
  WakerGroup();
  WakerGroup(const WakerGroup&) = delete;
  WakerGroup& operator=(const WakerGroup&) = delete;

  // After a seq_cst store of what the members look at.
  void wake_parked() {
    if (parked_.load(std::memory_order_seq_cst) != 0) wake_all();
  }
  // Members that are not asleep.
  std::uint32_t runnable() const {
    return members_.load(std::memory_order_relaxed) - parked_.load(std::memory_order_relaxed);
  }

 private:
  friend class Waker;
  void wake_all();

  alignas(64) std::atomic<std::uint32_t> parked_{0};
  alignas(64) std::atomic<std::uint32_t> members_{0};
  const std::uint32_t core_count_;
  std::mutex mutex_;  // guards wakers_
  std::vector<Waker*> wakers_;
};

// One per dispatcher thread; everything but wake() is for that thread.
class Waker {
 public:
  explicit Waker(WakerGroup& group);
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  // Returns when has_work() may be true, at the time-out, or early. `has_work` reads with seq_cst
  // or under the mutex that guards the work.
  template <typename HasWork>
  void wait(HasWork&& has_work, std::int64_t timeout_ns = kWaitForever) {
    for (std::uint32_t left = spin_budget(); left != 0; --left) {
      if (has_work()) return spin_paid_off();
      pause();
    }
    prepare();
    if (has_work()) return cancel();
    park(timeout_ns);
  }

  // The parts of wait(): prepare, look for work, then either cancel or park.
  void prepare();
  void cancel();
  void park(std::int64_t timeout_ns = kWaitForever);

  // [any] There is other work than events: a query, a control call, the end.
  void wake();

 private:
  friend class WakerGroup;
  static void pause();
  std::uint32_t spin_budget() const;
  void spin_paid_off();

  WakerGroup& group_;
  alignas(64) std::atomic<std::uint32_t> parked_{0};  // the futex word
  alignas(64) std::uint32_t spin_limit_ = 0;          // pauses before parking; adapts
};

}  // namespace ephor::host
