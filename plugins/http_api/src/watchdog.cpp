// SPDX-License-Identifier: Apache-2.0
#include "watchdog.hpp"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr auto kSweep = std::chrono::milliseconds(100);

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Watchdog::Watchdog(std::function<bool()> is_crowded)
    : is_crowded_(std::move(is_crowded)), thread_([this] { run(); }) {}

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
    if (is_crowded_()) end_unused();
  }
}

void Watchdog::end_idle() {
  std::lock_guard lock(mutex_);
  for (Watch* watch : watches_) {
    if (watch->deadline_ns_.load() == 0) ::shutdown(watch->socket_, SHUT_RD);
  }
}

void Watchdog::end_unused() {
  for (Watch* watch : watches_) {
    int unread = 0;
    if (watch->deadline_ns_.load() != 0) continue;
    if (::ioctl(watch->socket_, FIONREAD, &unread) == 0 && unread == 0) {
      ::shutdown(watch->socket_, SHUT_RD);
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

Watchdog::Watch::~Watch() {
  std::lock_guard lock(watchdog_.mutex_);
  watchdog_.watches_.erase(place_);
}

void Watchdog::Watch::limit(int timeout_ms) {
  deadline_ns_.store(monotonic_ns() + timeout_ms * 1'000'000LL, std::memory_order_relaxed);
}

void Watchdog::Watch::idle() { deadline_ns_.store(0, std::memory_order_relaxed); }

}  // namespace ephor::http_api
