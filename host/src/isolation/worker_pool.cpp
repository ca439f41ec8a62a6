// SPDX-License-Identifier: Apache-2.0
#include "isolation/worker_pool.hpp"

#include <system_error>
#include <utility>

namespace ephor::host::isolation {

bool WorkerPool::run(std::function<void()> work) {
  {
    const std::scoped_lock lock(mutex_);
    if (is_stopping_ || queue_.size() >= kQueueMax) return false;
    queue_.push_back(std::move(work));
    if (queue_.size() > idle_ && threads_.size() < kThreadsMax) {
      try {
        threads_.emplace_back([this] { serve(); });
      } catch (const std::system_error&) {  // no more threads: the ones there are will come to it
        if (threads_.empty()) {
          queue_.pop_back();
          return false;
        }
      }
    }
  }
  changed_.notify_one();
  return true;
}

void WorkerPool::stop() {
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
    queue_.clear();
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void WorkerPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [&] { return is_stopping_ || !queue_.empty(); });
    --idle_;
    if (is_stopping_) return;
    const std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    lock.lock();
  }
}

}  // namespace ephor::host::isolation
