// SPDX-License-Identifier: Apache-2.0
#include "core/supervisor.hpp"

#include <algorithm>
#include <chrono>

#include "core/clock.hpp"
#include "core/crash_note.hpp"
#include "core/dispatcher.hpp"
#include "core/instance.hpp"

namespace ephor::host {

Supervisor::Supervisor(InstancesNow instances, Dispatcher* dispatcher)
    : instances_(std::move(instances)), dispatcher_(dispatcher) {
  thread_ = std::thread([this] { run(); });
}

Supervisor::~Supervisor() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (Recovery& recovery : recoveries_) {
    while (!*recovery.is_done && !recovery.instance->is_hung()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      recovery.instance->look_after(monotonic_ns());
    }
    if (*recovery.is_done)
      recovery.thread.join();
    else
      recovery.thread.detach();
  }
}

void Supervisor::run() {
  constexpr std::chrono::milliseconds kEvery{20};
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    changed_.wait_for(lock, kEvery);
    if (is_stopping_) return;
    lock.unlock();
    look(monotonic_ns());
    lock.lock();
  }
}

void Supervisor::look(std::int64_t now_ns) {
  if (dispatcher_ != nullptr) dispatcher_->look(now_ns);
  recoveries_.remove_if([](Recovery& recovery) {
    if (!*recovery.is_done) return false;
    recovery.thread.join();
    return true;
  });
  for (const auto& instance : instances_()) {
    instance->look_after(now_ns);
    const bool is_under_way =
        std::any_of(recoveries_.begin(), recoveries_.end(),
                    [&](const Recovery& recovery) { return recovery.instance == instance; });
    if (!is_under_way && instance->needs_recovery(now_ns)) recover(instance);
  }
}

void Supervisor::recover(const std::shared_ptr<Instance>& instance) {
  Recovery& made = recoveries_.emplace_back();
  made.instance = instance;
  made.thread = std::thread([instance, is_done = made.is_done] {
    need_signal_stack();
    instance->recover();
    *is_done = true;
  });
}

}  // namespace ephor::host
