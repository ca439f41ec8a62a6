// SPDX-License-Identifier: Apache-2.0
#include "bus/waker.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <thread>

#include "event/times.hpp"

namespace ephor::host {
namespace {

// A sleep shorter than about what the futex round trip costs would have been better spun through.
constexpr std::int64_t kSleepShortNs = 8'000;
constexpr std::uint32_t kSpinFirst = 16;  // pauses
// Pauses, some microseconds: enough to stay awake through a burst. On a busy machine a longer spin
// only makes the spinner lose its turn: 64 did better than 1024 in bench_bus at 50,000 events/s.
constexpr std::uint32_t kSpinMax = 128;

std::uint32_t* futex_word(const std::atomic<std::uint32_t>& word) {
  static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));
  return reinterpret_cast<std::uint32_t*>(const_cast<std::atomic<std::uint32_t>*>(&word));
}

}  // namespace

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                std::int64_t timeout_ns) {
  timespec timeout{};
  if (timeout_ns > 0) {
    timeout.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000);
    timeout.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000);
  }
  ::syscall(SYS_futex, futex_word(word), FUTEX_WAIT_PRIVATE, value,
            timeout_ns < 0 ? nullptr : &timeout, nullptr, 0);
}

void futex_wake(const std::atomic<std::uint32_t>& word, int sleepers_max) {
  ::syscall(SYS_futex, futex_word(word), FUTEX_WAKE_PRIVATE, sleepers_max, nullptr, nullptr, 0);
}

WakerGroup::WakerGroup() : core_count_(std::max(1U, std::thread::hardware_concurrency())) {}

void WakerGroup::wake_all() {
  const std::lock_guard lock(mutex_);
  for (Waker* waker : wakers_) {
    if (waker->parked_.load(std::memory_order_seq_cst) != 0) waker->wake();
  }
}

Waker::Waker(WakerGroup& group) : group_(group) {
  const std::lock_guard lock(group_.mutex_);
  group_.wakers_.push_back(this);
  group_.members_.fetch_add(1, std::memory_order_relaxed);
}

Waker::~Waker() {
  const std::lock_guard lock(group_.mutex_);
  std::erase(group_.wakers_, this);
  group_.members_.fetch_sub(1, std::memory_order_relaxed);
}

void Waker::prepare() {
  // The count first: whoever clears parked_ takes one off it.
  group_.parked_.fetch_add(1, std::memory_order_seq_cst);
  parked_.exchange(1, std::memory_order_seq_cst);
}

void Waker::cancel() {
  if (parked_.exchange(0, std::memory_order_seq_cst) == 1) {
    group_.parked_.fetch_sub(1, std::memory_order_seq_cst);
  }
}

void Waker::park(std::int64_t timeout_ns) {
  const std::int64_t begin_ns = monotonic_ns();
  futex_wait(parked_, 1, timeout_ns);
  const bool is_short = monotonic_ns() - begin_ns < kSleepShortNs;
  cancel();
  if (is_short) {
    spin_limit_ = std::clamp(spin_limit_ * 2, kSpinFirst, kSpinMax);
  } else {
    spin_limit_ = spin_limit_ / 2 < kSpinFirst ? 0 : spin_limit_ / 2;
  }
}

void Waker::wake() {
  if (parked_.exchange(0, std::memory_order_seq_cst) == 1) {
    group_.parked_.fetch_sub(1, std::memory_order_seq_cst);
    futex_wake(parked_, 1);
  }
}

void Waker::pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spinning while others could use the core would only delay them.
std::uint32_t Waker::spin_budget() const {
  return group_.runnable() >= group_.core_count_ ? 0 : spin_limit_;
}

void Waker::spin_paid_off() { spin_limit_ = std::clamp(spin_limit_ * 2, kSpinFirst, kSpinMax); }

}  // namespace ephor::host
