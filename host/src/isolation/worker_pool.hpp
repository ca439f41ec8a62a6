// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ephor::host::isolation {

// Threads for calls that may wait for further calls: one more is made whenever all are busy, up to
// a bound, so that nested calls do not wait for each other. Thread-safe.
class WorkerPool {
 public:
  static constexpr std::size_t kThreadsMax = 64;
  static constexpr std::size_t kQueueMax = 4096;

  WorkerPool() = default;
  ~WorkerPool() { stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False if the queue is full or the pool has stopped.
  bool run(std::function<void()> work);
  // Drops what is queued and waits for what runs. Safe twice.
  void stop();

 private:
  void serve();

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::size_t idle_ = 0;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ephor::host::isolation
