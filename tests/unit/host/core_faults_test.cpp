// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/call_board.hpp"
#include "core/clock.hpp"
#include "core/crash_note.hpp"
#include "core/faults.hpp"
#include "core/thread_stack.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

using ephor::testing::TemporaryDirectory;

using Action = FaultLedger::Action;
constexpr std::int64_t kSecond = 1'000'000'000;

FaultSettings small() {
  FaultSettings settings;
  settings.attempts = 3;
  settings.budget = 4;
  settings.window_ns = 10 * kSecond;
  settings.backoff_ns = kSecond;
  settings.backoff_max_ns = 5 * kSecond;
  settings.restarts_max = 3;
  return settings;
}

// Fails until the budget is spent; the verdict on the failure that was one too many.
FaultLedger::Verdict overspend(FaultLedger& ledger, std::int64_t now_ns) {
  for (std::uint32_t i = 0; i < small().budget; ++i) {
    const auto verdict = ledger.note_failure(now_ns);
    CHECK(verdict.action == Action::go_on);
    CHECK(verdict.delay_ns == 0);
  }
  return ledger.note_failure(now_ns);
}

TEST_CASE("fault ledger: the budget is of a moving window", "[unit][faults]") {
  FaultLedger ledger(small(), false);
  // One failure every 2.6 s: at most 4 in any 10 s.
  for (int i = 0; i < 100; ++i) {
    CHECK(ledger.note_failure(i * 26 * kSecond / 10).action == Action::go_on);
  }
  CHECK(overspend(ledger, 1'000 * kSecond).action == Action::quarantine);
}

TEST_CASE("fault ledger: quarantines last longer and longer, then for good", "[unit][faults]") {
  FaultLedger ledger(small(), false);
  std::int64_t now = 0;
  for (const std::int64_t expected : {1, 2, 4}) {
    const auto verdict = overspend(ledger, now);
    CHECK(verdict.action == Action::quarantine);
    CHECK(verdict.delay_ns == expected * kSecond);
    now += verdict.delay_ns;
  }
  CHECK(overspend(ledger, now).action == Action::give_up);

  SECTION("a calm window makes it young again") {
    now += 10 * kSecond;
    CHECK_FALSE(ledger.is_calm(now));
    now += 1;
    CHECK(ledger.is_calm(now));
    CHECK(overspend(ledger, now).delay_ns == kSecond);
  }
  SECTION("so does an operator") {
    ledger.clear();
    CHECK(overspend(ledger, now).delay_ns == kSecond);
  }
}

TEST_CASE("fault ledger: a back-off is never above its bound", "[unit][faults]") {
  FaultSettings settings = small();
  settings.restarts_max = 100;
  FaultLedger ledger(settings, false);
  for (int round = 0; round < 100; ++round) {
    const auto verdict = overspend(ledger, 0);
    CHECK(verdict.delay_ns == std::min<std::int64_t>(5, round < 3 ? 1 << round : 5) * kSecond);
  }
}

TEST_CASE("fault ledger: a process that ended is started again after a while", "[unit][faults]") {
  FaultLedger ledger(small(), false);
  for (const std::int64_t expected : {1, 2, 4, 5}) {
    const auto verdict = ledger.note_loss(0);
    CHECK(verdict.action == Action::go_on);
    CHECK(verdict.delay_ns == expected * kSecond);
  }
  CHECK(ledger.note_loss(0).action == Action::quarantine);
}

TEST_CASE("fault ledger: in a replay the clock decides nothing", "[unit][faults]") {
  FaultLedger ledger(small(), true);
  for (int i = 0; i < 4; ++i) {
    CHECK(ledger.note_failure(i * 1'000 * kSecond).action == Action::go_on);
  }
  CHECK_FALSE(ledger.is_calm(1'000'000 * kSecond));
  CHECK(ledger.note_failure(1'000'000 * kSecond).action == Action::give_up);
}

TEST_CASE("poison events: after so many attempts, and until they are saved", "[unit][faults]") {
  PoisonEvents poison(3);
  CHECK(poison.note_failed(70, "a") == 1);
  CHECK(poison.note_failed(70, "b") == 2);
  CHECK_FALSE(poison.is_poison(70));
  CHECK_FALSE(poison.any_within(0, 1'000));
  CHECK(poison.note_failed(70, "c") == 3);
  CHECK(poison.is_poison(70));
  CHECK(poison.error_of(70) == "c");
  CHECK(poison.any_within(70, 70));
  CHECK(poison.any_within(1, 99));
  CHECK_FALSE(poison.any_within(71, 99));
  CHECK_FALSE(poison.any_within(1, 69));
  CHECK(poison.note_skipped(70));
  CHECK_FALSE(poison.note_skipped(70));
  poison.note_failed(90, "d");
  poison.forget_before(71);
  CHECK_FALSE(poison.is_poison(70));
  CHECK(poison.note_failed(90, "e") == 2);
}

TEST_CASE("call board: each limit is told once per call", "[unit][faults]") {
  const std::string name = "one";
  CallBoard board(name);
  std::vector<std::string> soft;
  std::vector<std::string> hard;
  const auto look = [&](std::int64_t now_ns) {
    board.look(
        now_ns, kSecond, 3 * kSecond,
        [&](const CallBoard::Overdue& call) { soft.emplace_back(call.what); },
        [&](const CallBoard::Overdue& call) { hard.emplace_back(call.what); });
  };
  look(monotonic_ns() + 100 * kSecond);
  CHECK(soft.empty());
  {
    const CallBoard::Scope outer(board, "on_events", 42);
    const std::int64_t began = monotonic_ns();
    look(began);
    CHECK(soft.empty());
    look(began + 2 * kSecond);
    look(began + 2 * kSecond);
    CHECK(soft == std::vector<std::string>{"on_events"});
    CHECK(hard.empty());
    const CallBoard::Scope task(board, "task", 0, CallBoard::Limits::none);
    look(began + 4 * kSecond);
    look(began + 5 * kSecond);
    CHECK(hard == std::vector<std::string>{"on_events"});
    CHECK(soft.size() == 1);
    CHECK_FALSE(board.wait_idle(std::chrono::milliseconds(1)));
  }
  CHECK(board.wait_idle(std::chrono::milliseconds(1)));
}

TEST_CASE("call board: a crash is laid at the innermost call of its thread", "[unit][faults]") {
  const std::string one = "one";
  const std::string two = "two";
  CallBoard first(one);
  CallBoard second(two);
  CHECK(CrashedCall::of_this_thread().instance == nullptr);
  {
    const CallBoard::Scope outer(first, "on_events", 7);
    {
      const CallBoard::Scope inner(second, "query");
      CHECK(CrashedCall::of_this_thread().instance == two);
    }
    CHECK(CrashedCall::of_this_thread().instance == one);
    CHECK(CrashedCall::of_this_thread().sequence == 7);
    std::thread other([] { CHECK(CrashedCall::of_this_thread().instance == nullptr); });
    other.join();
  }
  CHECK(CrashedCall::of_this_thread().instance == nullptr);
}

TEST_CASE("call board: waits for the last of several calls", "[unit][faults]") {
  const std::string name = "one";
  CallBoard board(name);
  std::atomic<int> inside{0};
  std::atomic<bool> may_leave{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const CallBoard::Scope scope(board, "query");
      ++inside;
      while (!may_leave) std::this_thread::yield();
    });
  }
  while (inside < 4) std::this_thread::yield();
  CHECK_FALSE(board.wait_idle(std::chrono::milliseconds(5)));
  may_leave = true;
  CHECK(board.wait_idle(std::chrono::seconds(60)));
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("crash history: counts by build and configuration, for a day", "[unit][faults]") {
  const TemporaryDirectory directory;
  const Crash crash{11, "tracer", "", "on_events", 65536};
  constexpr std::int64_t kDay = 24LL * 3600 * kSecond;
  {
    CrashHistory history(directory.path());
    CHECK(history.of("tracer", "aa", 0).count == 0);
    history.add(crash, kDay);
    history.add({6, "", "", "", 0}, kDay);  // outside of any plugin
    CHECK(history.of("tracer", "aa", kDay).count == 1);
    CHECK(history.of("metrics", "aa", kDay).count == 0);
  }
  {
    CrashHistory history(directory.path());  // from the file
    history.add(crash, 2 * kDay);
    const auto record = history.of("tracer", "aa", 2 * kDay);
    CHECK(record.count == 2);
    CHECK(record.last.find("signal 11") != std::string::npos);
    CHECK(record.last.find("tracer, on_events") != std::string::npos);
    CHECK(record.last_call == "on_events");
  }
  SECTION("another build or configuration begins anew") {
    CrashHistory history(directory.path());
    CHECK(history.of("tracer", "bb", 2 * kDay).count == 0);
    CHECK(CrashHistory(directory.path()).of("tracer", "aa", 2 * kDay).count == 0);
  }
  SECTION("what is older than a day is forgotten") {
    CrashHistory history(directory.path());
    CHECK(history.of("tracer", "aa", 3 * kDay + 1).count == 0);
  }
  SECTION("so is what an operator forgives") {
    CrashHistory(directory.path()).forget("tracer");
    CHECK(CrashHistory(directory.path()).of("tracer", "aa", 2 * kDay).count == 0);
  }
  SECTION("a damaged file is no obstacle") {
    std::ofstream(directory.path() / "crashes.json") << "[1, 2";
    CrashHistory history(directory.path());
    CHECK(history.of("tracer", "aa", 2 * kDay).count == 0);
  }
}

TEST_CASE("crash note: nothing noted is no crash", "[unit][faults]") {
  const TemporaryDirectory directory;
  CHECK_FALSE(CrashNote::take(directory.path()));
  std::ofstream(directory.path() / "crash") << "";
  CHECK_FALSE(CrashNote::take(directory.path()));
  std::ofstream(directory.path() / "crash") << "11\ntracer\nsave\n4711\n\n";
  const auto crash = CrashNote::take(directory.path());
  REQUIRE(crash);
  CHECK(crash->signal == 11);
  CHECK(crash->instance == "tracer");
  CHECK(crash->what == "save");
  CHECK(crash->sequence == 4711);
  CHECK_FALSE(CrashNote::take(directory.path()));
}

TEST_CASE("stack of a thread: of one that runs, and of one that is gone", "[unit][faults]") {
  std::atomic<pid_t> id{0};
  std::atomic<bool> may_leave{false};
  std::thread thread([&] {
    id = ::gettid();
    while (!may_leave) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  while (id == 0) std::this_thread::yield();
  const auto stack = stack_of_thread(id);
  CHECK(stack.size() > 2);
  may_leave = true;
  thread.join();
  CHECK(stack_of_thread(id).empty());
}

}  // namespace
}  // namespace ephor::host
