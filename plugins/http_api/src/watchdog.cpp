// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

#include <sys/socket.h>

#include <chrono>
#include <utility>

#include "worker_pool.hpp"

namespace ephor::http_api {
namespace {

constexpr auto kSweep = std::chrono::milliseconds(100);

}  // namespace

Watchdog::Watchdog() : thread_([this] { run(); }) {}

Watchdog::~Watchdog() { stop(); }

void Watchdog::stop() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    wake_.wait_for(lock, kSweep);
    const std::int64_t now = monotonic_ns();
    for (Watch* watch : watches_) {
      const std::int64_t deadline = watch->deadline_ns_.load(std::memory_order_relaxed);
      if (deadline == 0 || now < deadline) continue;
      watch->has_fired_ = true;
      ::shutdown(watch->socket_, SHUT_RD);
      // A reader wakes now; a writer is only ended by closing its side too, one second later.
      if (now > deadline + 1'000'000'000) ::shutdown(watch->socket_, SHUT_RDWR);
    }
  }
}

void Watchdog::end_all() {
  std::lock_guard lock(mutex_);
  for (Watch* watch : watches_) ::shutdown(watch->socket_, SHUT_RDWR);
}

Watchdog::Watch::Watch(Watchdog& watchdog, int socket) : watchdog_(watchdog), socket_(socket) {
  std::lock_guard lock(watchdog_.mutex_);
  place_ = watchdog_.watches_.insert(watchdog_.watches_.end(), this);
}

Watchdog::Watch::~Watch() { end(); }

void Watchdog::Watch::end() {
  if (std::exchange(has_ended_, true)) return;
  std::lock_guard lock(watchdog_.mutex_);
  watchdog_.watches_.erase(place_);
}

void Watchdog::Watch::limit(int timeout_ms) {
  deadline_ns_.store(monotonic_ns() + timeout_ms * 1'000'000LL, std::memory_order_relaxed);
}

void Watchdog::Watch::idle() { deadline_ns_.store(0, std::memory_order_relaxed); }

}  // namespace ephor::http_api
