// SPDX-License-Identifier: Apache-2.0
#include "core/task_pool.hpp"

namespace ephor::host {

TaskPool::TaskPool(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

TaskPool::~TaskPool() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool TaskPool::run(const void* owner, std::function<void()> task) {
  {
    const std::scoped_lock lock(mutex_);
    if (queue_.size() >= kQueueMax || is_stopping_) return false;
    queue_.push_back({owner, std::move(task)});
    ++open_[owner];
  }
  changed_.notify_all();
  return true;
}

bool TaskPool::wait_for(const void* owner, std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return !open_.contains(owner); });
}

void TaskPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task.function();
    lock.lock();
    if (--open_[task.owner] == 0) open_.erase(task.owner);
    changed_.notify_all();
  }
}

}  // namespace ephor::host
