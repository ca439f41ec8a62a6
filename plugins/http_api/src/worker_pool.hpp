// SPDX-License-Identifier: Apache-2.0
//
// Threads that serve requests, and a bounded queue before them. Few threads are started; the pool
// grows when its queue stands still, since then those it has wait for something else, and shrinks
// when threads had nothing to do for a minute. The thread that waits the shortest is used first:
// its memory is warm, and those that are not needed can end.
//
// Waking a thread costs as much as answering a short question. So no more are woken than there are
// processors: threads that have just begun to serve will soon come for the next in the queue. One
// that serves for longer than kFreshNs counts as waiting for something else.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ephor::http_api {

class Connection;

class WorkerPool {
 public:
  struct Figures {
    int threads = 0;
    int busy = 0;
    int queued = 0;
    std::uint64_t served = 0;         // left the queue for a thread
    std::uint64_t refused = 0;        // found the queue full
    std::uint64_t queue_ns_sum = 0;   // of those served
    std::uint64_t queue_ns_most = 0;  // of one of them, since the last figures()
  };

  // At most `threads_max` at work and `queue_max` waiting. `serve` runs on a thread of the pool and
  // must not throw.
  WorkerPool(int threads_max, int queue_max, std::function<void(Connection&)> serve);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // [any] False if the pool is full or stopped; then the connection is still the caller's.
  bool push(Connection& connection);
  // [any] Somebody waits for a thread.
  bool has_queue() const;
  // Grows and shrinks; called now and then, one caller at a time. Monotonic nanoseconds. True if
  // somebody waits for a thread.
  bool tend(std::int64_t now_ns);
  // Ends the threads behind what they serve; returns what still waited. Twice is fine.
  std::vector<Connection*> stop();

  Figures figures();

 private:
  struct Worker {
    std::condition_variable wake;
    bool is_woken = false;
    bool must_end = false;
    bool has_ended = false;
    bool is_busy = false;
    std::int64_t since_ns = 0;  // busy or idle
    std::thread thread;
  };
  struct Waiting {
    Connection* connection;
    std::int64_t since_ns;
  };

  void add_worker();       // under the lock
  Worker* take_sleeper();  // under the lock; to be woken behind it, null: none
  void run(Worker& worker);
  bool is_slow(std::int64_t now_ns);       // under the lock
  void note_wait(std::int64_t waited_ns);  // under the lock
  std::vector<std::unique_ptr<Worker>> take_ended();

  const int threads_max_;
  const int queue_max_;
  const int threads_least_;
  const std::function<void(Connection&)> serve_;
  mutable std::mutex mutex_;  // guards everything below
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Worker>> stopped_;
  std::vector<Worker*> idle_;  // the last one has waited the shortest
  std::deque<Waiting> queue_;
  std::int64_t last_taken_ns_ = 0;
  std::int64_t window_begin_ns_ = 0;
  std::uint64_t window_served_ = 0;  // at its begin
  int woken_ = 0;                    // and not yet at work
  int threads_ = 0;                  // that have not been told to end
  int busy_ = 0;
  bool is_stopping_ = false;
  Figures figures_;
};

std::int64_t monotonic_ns();

}  // namespace ephor::http_api
