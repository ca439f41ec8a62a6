// SPDX-License-Identifier: Apache-2.0
#include "core/instance.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <tuple>

#include "core/event_log.hpp"
#include "core/plugin_call.hpp"
#include "core/registry.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point at_monotonic(std::int64_t ns) {
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(ns)));
}

}  // namespace

void Instance::must_be_at_work() const {
  switch (phase_.load()) {
    case Phase::running:
    case Phase::draining:
      return;
    case Phase::recovering:
    case Phase::quarantined:
      throw HostError(EPHOR_STATE,
                      "instance " + name() + " is " +
                          (phase_ == Phase::recovering ? "restarting" : "quarantined") + ": " +
                          health().reason);
    default:
      throw HostError(EPHOR_STATE, "instance " + name() + " is not running");
  }
}

void Instance::wait_until_read(std::uint64_t sequence, std::int64_t deadline_ns) {
  if (!is_reader() || position() > sequence) return;
  read_waiters_.fetch_add(1, std::memory_order_seq_cst);
  std::unique_lock lock(read_mutex_);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool has_read = read_changed_.wait_until(
      lock, at_monotonic(deadline_ns), [&] { return position() > sequence || !is_at_work(); });
  read_waiters_.fetch_sub(1);
  must_be_at_work();
  if (!has_read) {
    throw HostError(EPHOR_TIMEOUT, "instance " + name() + " has not read sequence " +
                                       std::to_string(sequence) + " in time");
  }
}

void Instance::answer(const QueryEntry& query, ephor_view request, std::int64_t deadline_ns,
                      std::uint64_t after_sequence, ephor_writer* answer,
                      std::uint64_t* as_of_sequence) {
  must_be_at_work();
  if (after_sequence != 0) wait_until_read(after_sequence, deadline_ns);

  // Shared, because a late finish may come after the caller has gone.
  struct Answer {
    std::mutex mutex;  // guards answer
    std::string answer;
    std::promise<std::pair<ephor_status, std::string>> finished;
  };
  const auto pending = std::make_shared<Answer>();
  struct Context {
    std::shared_ptr<Answer> pending;
  };
  auto context = std::make_unique<Context>(Context{pending});
  ephor_reply reply{
      sizeof(ephor_reply),
      0,
      context.get(),
      [](void* to, ephor_view bytes) {
        return guarded(nullptr, [&] {
          Answer& target = *static_cast<Context*>(to)->pending;
          const std::scoped_lock lock(target.mutex);
          target.answer.append(to_text(bytes));
        });
      },
      [](void* to, ephor_status status, const ephor_error* error) {
        const std::unique_ptr<Context> owned(static_cast<Context*>(to));
        guarded(nullptr, [&] { owned->pending->finished.set_value({status, message_in(error)}); });
      },
      deadline_ns};
  ephor_error error = fresh_error();
  ephor_status status = EPHOR_OK;
  const auto run = [&] {
    const CallBoard::Scope scope(calls_, "query");
    must_be_at_work();  // it may have changed while this call waited; and so may its handlers
    const auto current = services_.registry.query(query.name);
    if (!current || current->is_stale || current->instance != this) {
      throw HostError(EPHOR_STATE, "instance " + name() + " has restarted without " + query.name);
    }
    if (as_of_sequence != nullptr) {
      *as_of_sequence = is_reader() ? position() - 1 : services_.log.last_sequence();
    }
    status = contained_call(
        error, [&] { return current->handler(current->user, request, &reply, &error); });
  };
  if ((plugin().info->capabilities & EPHOR_CAP_CONCURRENT_QUERY) != 0) {
    run();
  } else {
    const Turn turn(*this, deadline_ns);
    if (!turn.is_taken()) {
      throw HostError(EPHOR_TIMEOUT, "instance " + name() + " is busy: no turn for " + query.name);
    }
    run();
  }
  std::string message = error.message;
  if (status == EPHOR_PENDING) {
    (void)context.release();  // finish owns it
    auto finished = pending->finished.get_future();
    if (finished.wait_until(at_monotonic(deadline_ns)) != std::future_status::ready) {
      throw HostError(EPHOR_TIMEOUT, "query " + query.name + " did not answer in time");
    }
    std::tie(status, message) = finished.get();
  }
  if (status != EPHOR_OK) {
    throw Error(status, message.empty() ? "query " + query.name + " failed" : message,
                error.json_pointer);
  }
  const std::scoped_lock lock(pending->mutex);
  if (answer->write(answer->context, to_view(pending->answer)) != EPHOR_OK) {
    throw HostError(EPHOR_FULL, "the answer of " + query.name + " could not be written");
  }
}

void Instance::run_command(const CommandEntry& command, ephor_view arguments, ephor_writer* out) {
  const Turn turn(*this);
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, "command", 0, CallBoard::Limits::none);
  const ephor_status status =
      contained_call(error, [&] { return command.handler(command.user, arguments, out, &error); });
  if (status != EPHOR_OK) {
    throw HostError(status, error.message[0] != '\0' ? error.message : "command failed");
  }
}

}  // namespace ephor::host
