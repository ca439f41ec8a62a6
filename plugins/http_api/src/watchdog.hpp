// SPDX-License-Identifier: Apache-2.0
//
// Ends connections that take too long over a request or an answer. Socket timeouts bound the time
// between two bytes only: a client that sends one byte now and then would hold its thread for ever.
// And ends connections that hold a thread idle while others wait for one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace ephor::http_api {

class Watchdog {
 public:
  // `is_crowded`: others wait for the threads of idle connections. Asked on the watchdog's thread.
  explicit Watchdog(std::function<bool()> is_crowded);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // One live connection; must die before its socket is closed.
  class Watch {
   public:
    Watch(Watchdog& watchdog, int socket);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void limit(int timeout_ms);  // from now; a former limit no longer holds
    void idle();                 // waits for a request: no limit, may be ended at any time
    bool has_fired() const { return has_fired_.load(); }

   private:
    friend class Watchdog;
    Watchdog& watchdog_;
    const int socket_;
    std::atomic<std::int64_t> deadline_ns_{0};  // monotonic; 0: idle
    std::atomic<bool> has_fired_{false};
    std::list<Watch*>::iterator place_;
  };

  // Ends the connections that wait for a request, or all of them.
  void end_idle();
  void end_all();
  // Ends its thread, twice if need be; no connection may live any more. One caller at a time.
  void stop();

 private:
  void run();
  void end_unused();  // idle connections that have not begun to ask either; under the lock

  const std::function<bool()> is_crowded_;
  std::mutex mutex_;  // guards watches_, is_stopping_
  std::condition_variable wake_;
  std::list<Watch*> watches_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::http_api
