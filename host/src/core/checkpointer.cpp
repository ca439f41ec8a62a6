// SPDX-License-Identifier: Apache-2.0
#include "core/checkpointer.hpp"

#include <algorithm>
#include <chrono>

#include "core/logger.hpp"

namespace ephor::host {
namespace {
constexpr const char* kFailed = "checkpoint: ";  // health says so until one is saved
}

Checkpointer::Checkpointer(Journal& journal, Storage& storage, EventLog& log, bool must_sync)
    : journal_(journal), storage_(storage), log_(log), must_sync_(must_sync) {
  thread_ = std::thread([this] { run(); });
}

Checkpointer::~Checkpointer() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Checkpointer::take(Instance& instance) {
  auto made = instance.checkpoint();
  if (!made) return;
  {
    const std::scoped_lock lock(mutex_);
    queue_.push_back({&instance, std::move(*made)});
    ++open_;
  }
  changed_.notify_all();
}

bool Checkpointer::wait_until_saved(std::int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [&] { return open_ == 0; });
}

void Checkpointer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::vector<Taken> group = std::exchange(queue_, {});
    const std::size_t count = group.size();
    lock.unlock();
    auto pause = std::chrono::milliseconds(100);
    for (;;) {
      save(group);
      if (group.empty()) break;
      lock.lock();
      const bool gives_up = is_stopping_;
      lock.unlock();
      if (gives_up) {
        log(EPHOR_LOG_ERROR, kHostName, "checkpoints could not be saved before the end");
        break;
      }
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::milliseconds(5000));
    }
    lock.lock();
    open_ -= count;
    changed_.notify_all();
  }
}

// Leaves in `group` what must be tried again.
void Checkpointer::save(std::vector<Taken>& group) {
  std::vector<std::optional<HostError>> results;
  try {
    for (const Taken& one : group) {
      while (!log_.wait_committed(one.instance->last_derived_ticket(), 1'000'000'000)) {
      }
    }
    if (must_sync_) journal_.sync();
    std::vector<const Checkpoint*> checkpoints;
    for (const Taken& one : group) checkpoints.push_back(&one.checkpoint);
    results = storage_.commit(checkpoints);
  } catch (const HostError& failure) {
    results.assign(group.size(), failure);
  }
  std::vector<Taken> again;
  for (std::size_t i = 0; i < group.size(); ++i) {
    Instance& instance = *group[i].instance;
    if (!results[i]) {
      instance.checkpoint_done(true);
      instance.fault_is_over(kFailed);
      continue;
    }
    log(EPHOR_LOG_ERROR, instance.name(), std::string(kFailed) + results[i]->what());
    instance.note_fault(std::string(kFailed) + results[i]->what());
    // Somebody else owns the instance, or the rows can never be written: trying again is no use.
    const bool is_final =
        results[i]->status() == EPHOR_STATE || results[i]->status() == EPHOR_INVALID;
    if (is_final)
      instance.checkpoint_done(false);
    else
      again.push_back(std::move(group[i]));
  }
  group = std::move(again);
}

}  // namespace ephor::host
