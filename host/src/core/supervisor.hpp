// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace ephor::host {

class Dispatcher;
class Instance;

// Looks after the instances 50 times a second: calls that last too long, plugins that need a new
// life, threads that are stuck. New lives are made on threads of their own, because a plugin may
// hang in its start, too.
class Supervisor {
 public:
  using InstancesNow = std::function<std::vector<std::shared_ptr<Instance>>()>;

  // `instances` is asked at each look. `dispatcher` may be null.
  Supervisor(InstancesNow instances, Dispatcher* dispatcher);
  // Waits for recoveries under way, but for those of instances that hang.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

 private:
  struct Recovery {
    std::shared_ptr<Instance> instance;
    std::shared_ptr<std::atomic<bool>> is_done = std::make_shared<std::atomic<bool>>(false);
    std::thread thread;
  };
  void run();
  void look(std::int64_t now_ns);
  void recover(const std::shared_ptr<Instance>& instance);

  const InstancesNow instances_;
  Dispatcher* const dispatcher_;
  std::list<Recovery> recoveries_;  // of the thread, then of the destructor

  std::mutex mutex_;  // guards is_stopping_
  std::condition_variable changed_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::host
