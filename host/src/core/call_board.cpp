// SPDX-License-Identifier: Apache-2.0
#include "core/call_board.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "core/clock.hpp"

namespace ephor::host {
namespace {

thread_local const CallBoard::Scope* innermost = nullptr;

pid_t this_thread() {
  thread_local const auto kId = static_cast<pid_t>(::syscall(SYS_gettid));
  return kId;
}

}  // namespace

CallBoard::Scope::Scope(CallBoard& board, const char* what, std::uint64_t sequence, Limits limits)
    : board_(board),
      what_(what),
      sequence_(sequence),
      limits_(limits),
      since_ns_(monotonic_ns()),
      thread_id_(this_thread()),
      outer_(innermost) {
  {
    const std::scoped_lock lock(board_.mutex_);
    board_.calls_.push_back(this);
  }
  innermost = this;
}

CallBoard::Scope::~Scope() {
  innermost = outer_;
  bool has_waiter = false;
  {
    const std::scoped_lock lock(board_.mutex_);
    std::erase(board_.calls_, this);
    has_waiter = board_.has_waiter_;
  }
  if (has_waiter) board_.changed_.notify_all();
}

void CallBoard::look(std::int64_t now_ns, std::int64_t soft_limit_ns, std::int64_t hard_limit_ns,
                     const Visit& on_soft, const Visit& on_hard) {
  std::vector<Overdue> soft;
  std::vector<Overdue> hard;
  {
    const std::scoped_lock lock(mutex_);
    for (Scope* call : calls_) {
      if (call->limits_ == Limits::none) continue;
      const std::int64_t age_ns = now_ns - call->since_ns_;
      const Overdue overdue{call->what_, call->sequence_, call->since_ns_, call->thread_id_};
      if (soft_limit_ns > 0 && age_ns > soft_limit_ns && !call->has_passed_soft_) {
        call->has_passed_soft_ = true;
        soft.push_back(overdue);
      }
      if (hard_limit_ns > 0 && age_ns > hard_limit_ns && !call->has_passed_hard_) {
        call->has_passed_hard_ = true;
        hard.push_back(overdue);
      }
    }
  }
  for (const Overdue& call : soft) on_soft(call);
  for (const Overdue& call : hard) on_hard(call);
}

bool CallBoard::wait_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  has_waiter_ = true;
  const bool is_idle = changed_.wait_for(lock, timeout, [&] { return calls_.empty(); });
  has_waiter_ = false;
  return is_idle;
}

CrashedCall CrashedCall::of_this_thread() {
  if (innermost == nullptr) return {};
  return {innermost->board_.instance_.c_str(), innermost->what_, innermost->sequence_};
}

}  // namespace ephor::host
