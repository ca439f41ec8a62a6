// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <mutex>
#include <thread>

#include "bus/waker.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

namespace {
constexpr std::int64_t kMinuteNs = 60'000'000'000;
}

// Ping-pong: a lost wake-up would leave both sides asleep, and the minute would run out.
TEST_CASE("waker: no wake-up is lost between two that only wake each other", "[unit][bus]") {
  constexpr std::uint64_t kRounds = 20'000;
  WakerGroup to_left_group;
  WakerGroup to_right_group;
  std::atomic<std::uint64_t> ball{0};  // even: left's turn
  std::atomic<std::uint64_t> timeouts{0};
  const auto play = [&](Waker& waker, WakerGroup& other, std::uint64_t parity) {
    for (;;) {
      const auto is_mine = [&] { return ball.load() % 2 == parity || ball.load() >= kRounds; };
      for (int tries = 0; !is_mine(); ++tries) {
        if (tries == 1000) {
          timeouts.fetch_add(1);
          return;
        }
        waker.wait(is_mine, kMinuteNs / 1000);
      }
      if (ball.load() >= kRounds) return;
      ball.fetch_add(1);
      other.wake_parked();
    }
  };
  Waker left(to_left_group);
  Waker right(to_right_group);
  std::thread other([&] { play(right, to_left_group, 1); });
  play(left, to_right_group, 0);
  to_right_group.wake_parked();
  other.join();
  CHECK(timeouts.load() == 0);
  CHECK(ball.load() == kRounds);
}

TEST_CASE("waker: wakes for work behind a mutex from any thread", "[unit][bus]") {
  constexpr int kItems = 20'000;
  WakerGroup group;
  Waker waker(group);
  std::mutex mutex;
  int queued = 0;
  int taken = 0;
  std::thread server([&] {
    while (taken < kItems) {
      waker.wait([&] {
        const std::lock_guard lock(mutex);
        return queued > 0;
      });
      const std::lock_guard lock(mutex);
      taken += queued;
      queued = 0;
    }
  });
  for (int i = 0; i < kItems; ++i) {
    {
      const std::lock_guard lock(mutex);
      ++queued;
    }
    waker.wake();
  }
  server.join();
  CHECK(taken == kItems);
}

TEST_CASE("waker: the time-out ends the wait, and the group counts who is awake", "[unit][bus]") {
  WakerGroup group;
  Waker first(group);
  Waker second(group);
  CHECK(group.runnable() == 2);
  first.wait([] { return false; }, 1'000'000);
  CHECK(group.runnable() == 2);
  first.prepare();
  CHECK(group.runnable() == 1);
  group.wake_parked();
  CHECK(group.runnable() == 2);
  first.park();  // returns at once: it was woken between prepare and park
  second.prepare();
  second.cancel();
  CHECK(group.runnable() == 2);
  second.wake();  // nobody sleeps: nothing happens
  CHECK(group.runnable() == 2);
}
