// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace ephor::reporter {

// One thread and a bounded queue of things to do, in order. What is still queued at the end is
// dropped, and told so.
class Worker {
 public:
  struct Job {
    std::function<void()> run;
    std::function<void()> drop;  // may be empty
  };

  ~Worker() { stop(); }

  void start() {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable() && !is_stopping_) thread_ = std::thread([this] { work(); });
  }
  // Waits for the job in hand.
  void stop() {
    std::deque<Job> left;
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      left.swap(queue_);
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    for (const Job& job : left) {
      if (job.drop) job.drop();
    }
  }
  // False: the queue is full, or it is over.
  bool add(Job job, std::size_t most) {
    {
      const std::lock_guard lock(mutex_);
      if (is_stopping_ || queue_.size() >= most) return false;
      queue_.push_back(std::move(job));
    }
    changed_.notify_all();
    return true;
  }
  bool is_stopping() {
    const std::lock_guard lock(mutex_);
    return is_stopping_;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return is_stopping_ || !queue_.empty(); });
      if (is_stopping_) return;
      const Job job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job.run();
      lock.lock();
    }
  }

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Job> queue_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::reporter
