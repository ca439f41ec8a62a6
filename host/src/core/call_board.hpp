// SPDX-License-Identifier: Apache-2.0
//
// The calls into one plugin that are under way: what the watchdog looks at, and what the note of a
// crash names.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <sys/types.h>

namespace ephor::host {

class CallBoard {
 public:
  // `instance` is what a crash is laid at; it outlives the board's calls.
  explicit CallBoard(const std::string& instance) : instance_(instance) {}

  // Long work of a plugin's own choice is not held to limits.
  enum class Limits { apply, none };

  // One call; on the caller's stack for as long as it lasts. Calls nest.
  class Scope {
   public:
    Scope(CallBoard& board, const char* what, std::uint64_t sequence = 0,
          Limits limits = Limits::apply);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class CallBoard;
    friend struct CrashedCall;
    CallBoard& board_;
    const char* const what_;
    const std::uint64_t sequence_;
    const Limits limits_;
    const std::int64_t since_ns_;
    const pid_t thread_id_;
    const Scope* const outer_;
    bool has_passed_soft_ = false;
    bool has_passed_hard_ = false;
  };

  struct Overdue {
    const char* what;
    std::uint64_t sequence;
    std::int64_t since_ns;
    pid_t thread_id;
  };
  using Visit = std::function<void(const Overdue&)>;
  // [any] Each call that passed a limit since the last look, once per limit; 0: no such limit.
  void look(std::int64_t now_ns, std::int64_t soft_limit_ns, std::int64_t hard_limit_ns,
            const Visit& on_soft, const Visit& on_hard);
  // [any] Until no call is under way; false at the time-out.
  bool wait_idle(std::chrono::nanoseconds timeout);

 private:
  friend struct CrashedCall;
  const std::string& instance_;
  std::mutex mutex_;  // guards calls_ and what the watchdog notes in them
  std::condition_variable changed_;
  std::vector<Scope*> calls_;
  bool has_waiter_ = false;
};

// The call the current thread is in; for a signal handler: nothing is locked or allocated.
struct CrashedCall {
  const char* instance = nullptr;  // null: the thread is in no plugin
  const char* what = nullptr;
  std::uint64_t sequence = 0;
  static CrashedCall of_this_thread();
};

}  // namespace ephor::host
