// SPDX-License-Identifier: Apache-2.0
//
// Ends connections that take too long over a body or an answer. Socket timeouts bound the time
// between two bytes only: a client that sends one byte now and then would hold its thread for ever.
// (Heads and pauses between requests hold no thread; they are the doorman's.)
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <thread>

namespace ephor::http_api {

class Watchdog {
 public:
  Watchdog();
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // One live connection; its end comes before the socket is closed.
  class Watch {
   public:
    Watch(Watchdog& watchdog, int socket);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void limit(int timeout_ms);  // from now; a former limit no longer holds
    void idle();                 // no limit
    void end();                  // nothing more; before the socket is closed
    bool has_fired() const { return has_fired_.load(); }

   private:
    friend class Watchdog;
    Watchdog& watchdog_;
    const int socket_;
    std::atomic<std::int64_t> deadline_ns_{0};  // monotonic; 0: no limit
    std::atomic<bool> has_fired_{false};
    std::list<Watch*>::iterator place_;
    bool has_ended_ = false;
  };

  void end_all();
  // Ends its thread, twice if need be. One caller at a time.
  void stop();

 private:
  void run();

  std::mutex mutex_;  // guards watches_, is_stopping_
  std::condition_variable wake_;
  std::list<Watch*> watches_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::http_api
