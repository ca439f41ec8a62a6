// SPDX-License-Identifier: Apache-2.0
//
// threads/*: which thread calls the plugin, which threads it has, and what they may call.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"
#include "check/process_state.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

using std::chrono::milliseconds;

// Runs `body` on a thread that lives for it alone; what it throws is thrown here.
void on_a_thread_of_its_own(const std::function<void()>& body) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

void any_thread(Context& context) {
  Subject subject(context);
  on_a_thread_of_its_own([&] { subject.must_create(); });
  on_a_thread_of_its_own([&] { subject.must_start(); });
  const Traffic traffic(subject.host().patterns());
  for (std::uint64_t from = 0; from < 640 && !traffic.is_empty(); from += 64) {
    on_a_thread_of_its_own([&] { give(subject, traffic, from, 64); });
  }
  on_a_thread_of_its_own([&] { must_answer_soundly(subject); });
  if (subject.checkpoint() != nullptr) {
    on_a_thread_of_its_own([&] {
      std::string state;
      if (const ephor_status status = subject.save(state); status != EPHOR_OK) {
        Context::fail("save failed with " + subject.described(status));
      }
    });
  }
  on_a_thread_of_its_own([&] { (void)subject.drain(monotonic_ns() + 1'000'000'000); });
  on_a_thread_of_its_own([&] { subject.must_stop(); });
  on_a_thread_of_its_own([&] { subject.destroy(); });
  require_no(subject.host(), {Rule::thread, Rule::lifetime, Rule::exceptions});
}

void tags_under_traffic(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  give(subject, traffic, 0, 600);
  must_answer_soundly(subject);
  std::string state;
  (void)subject.save(state);
  give(subject, traffic, 600, 200);
  end(subject);
  require_no(subject.host(), {Rule::thread, Rule::lifetime});
}

void concurrent_queries(Context& context) {
  if ((context.info().capabilities & EPHOR_CAP_CONCURRENT_QUERY) == 0) {
    Context::skip("it does not declare EPHOR_CAP_CONCURRENT_QUERY");
  }
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  const std::vector<Ask> asks = asks_of(subject.host());
  if (asks.empty()) Context::skip("it has no queries");
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> answers{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 3; ++i) {
    askers.emplace_back([&, i] {
      for (std::size_t n = static_cast<std::size_t>(i); !is_over; ++n) {
        const Ask& ask = asks[n % asks.size()];
        if (!ask.is_read && asks.size() > 1) continue;
        (void)subject.ask(ask.query, ask.request);
        ++answers;
      }
    });
  }
  const std::int64_t until = after_share(context, 0.05);
  std::exception_ptr failure;
  try {
    for (std::uint64_t from = 0; monotonic_ns() < until; from += 32) {
      if (!traffic.is_empty()) give(subject, traffic, from, 32, 32);
      std::this_thread::yield();
    }
  } catch (...) {
    failure = std::current_exception();
  }
  is_over = true;
  for (std::thread& asker : askers) asker.join();
  if (failure) std::rethrow_exception(failure);
  context.note(std::to_string(answers.load()) + " answers");
  end(subject);
  require_no(subject.host(), {Rule::thread, Rule::exceptions, Rule::errors, Rule::queries});
}

void instances_in_parallel(Context& context) {
  skip_source(context);
  Observed alone;
  {
    Subject subject(context, replaying());
    const Traffic traffic = begin(subject);
    give(subject, traffic, 0, 1000, 50);
    alone = observe(subject);
  }
  std::vector<std::thread> threads;
  std::exception_ptr failures[2];
  Observed beside[2];
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      try {
        // The name is the same: ids and findings may contain it.
        Subject subject(context, replaying());
        const Traffic traffic = begin(subject);
        give(subject, traffic, 0, 1000, 50);
        beside[i] = observe(subject);
        end(subject);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  for (const Observed& one : beside) {
    must_agree(alone, one, "an instance alone", "one beside another");
  }
}

void silent_after_stop(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 200);
  must_answer_soundly(subject);
  subject.must_stop();
  const auto before = subject.host().call_counts();
  std::this_thread::sleep_for(milliseconds(400));
  for (const auto& [function, count] : subject.host().call_counts()) {
    const auto found = before.find(function);
    Context::expect(found != before.end() && found->second == count,
                    "a call of " + function + " after stop has returned", "silence");
  }
}

void traffic_leaves_no_thread(Context& context) {
  std::size_t running = 0;
  const auto live = [&](std::size_t kept) {
    Subject subject(context);
    subject.must_create();
    subject.must_start();
    const Traffic traffic(subject.host().patterns());
    if (!traffic.is_empty()) give(subject, traffic, 0, 400);
    must_answer_soundly(subject);
    running = threads().size();
    subject.must_stop();
    const std::size_t after = threads_after_wait(kept, 1000);
    subject.destroy();
    return after;
  };
  // A pool that a library keeps for the whole process is made in a first life, and used again.
  (void)live(SIZE_MAX);
  const std::size_t kept = threads_after_wait(1, 100);
  const std::size_t after = live(kept);
  Context::expect(after <= kept, std::to_string(after - kept) + " more threads after stop",
                  "none: stop joins what events and queries started");
  context.note(std::to_string(running - std::min(running, kept)) + " threads after traffic, " +
               std::to_string(kept - 1) + " kept by libraries");
}

void tasks_end(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 400);
  must_answer_soundly(subject);
  const auto counts = subject.host().call_counts();
  if (counts.find("run") == counts.end()) Context::skip("it ran no task of ephor.task/1");
  const std::int64_t began = monotonic_ns();
  context.step("wait for its tasks");
  subject.host().join_tasks();
  const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
  constexpr double kSecondsMax = 5.0;
  Context::expect(seconds < kSecondsMax, "tasks that ran for " + std::to_string(seconds) + " s",
                  "them over within 5 s");
  subject.must_stop();
}

}  // namespace

std::vector<Check> thread_checks() {
  return {
      {"threads/any_thread", "Each call may come on another thread than the one before.",
       "The host serialises calls, it does not keep a thread per plugin.", &any_thread},
      {"threads/tags_under_traffic",
       "Under events, queries and saves it calls the host where that is allowed.",
       "publish outside of on_events has no slice in hand; registering is over after start.",
       &tags_under_traffic},
      {"threads/concurrent_queries",
       "With EPHOR_CAP_CONCURRENT_QUERY queries overlap events and each other.",
       "It has said so; the host then takes no lock.", &concurrent_queries},
      {"threads/instances_in_parallel", "Two instances on two threads do what each does alone.",
       "Instances share nothing in the host; what is static in the plugin they share by mistake.",
       &instances_in_parallel},
      {"threads/silent_after_stop", "It calls nothing once stop has returned.",
       "What it would call may be gone by then.", &silent_after_stop},
      {"threads/traffic_leaves_no_thread", "stop joins threads that events or queries started.",
       "Threads that only traffic starts are missed when starting and stopping is all one tries.",
       &traffic_leaves_no_thread},
      {"threads/tasks_end", "Its tasks come to an end.",
       "Every task has ended before stop; one that does not end holds up the host's own end.",
       &tasks_end},
  };
}

}  // namespace ephor::host::check
