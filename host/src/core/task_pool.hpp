// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace ephor::host {

// Threads for long work of plugins. Thread-safe.
class TaskPool {
 public:
  static constexpr std::size_t kQueueMax = 1024;

  explicit TaskPool(std::size_t threads);
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // False if the queue is full. `owner` is what wait_for waits for.
  bool run(const void* owner, std::function<void()> task);
  // Returns when no task of `owner` is queued or runs; false at the time-out.
  bool wait_for(const void* owner, std::chrono::nanoseconds timeout);

 private:
  struct Task {
    const void* owner;
    std::function<void()> function;
  };
  void work();

  std::mutex mutex_;  // guards down to is_stopping_
  std::condition_variable changed_;
  std::deque<Task> queue_;
  std::unordered_map<const void*, std::size_t> open_;  // queued or running, by owner
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ephor::host
