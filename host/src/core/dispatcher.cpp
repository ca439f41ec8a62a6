// SPDX-License-Identifier: Apache-2.0
#include "core/dispatcher.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/clock.hpp"
#include "core/crash_note.hpp"

namespace ephor::host {

Dispatcher::Dispatcher(Bus& bus, std::size_t threads, Checkpointer* checkpointer,
                       std::int64_t checkpoint_every_ns)
    : bus_(bus),
      threads_(std::max<std::size_t>(threads, 1)),
      checkpointer_(checkpointer),
      checkpoint_every_ns_(checkpoint_every_ns) {}

Dispatcher::~Dispatcher() {
  stop(0);
  for (const auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

bool Dispatcher::stop(std::int64_t timeout_ns) {
  is_running_.store(false, std::memory_order_seq_cst);
  const std::scoped_lock lock(mutex_);
  for (const auto& worker : workers_) worker->waker.wake();
  const std::int64_t deadline_ns = monotonic_ns() + timeout_ns;
  bool have_all_ended = true;
  for (const auto& worker : workers_) {
    while (!worker->has_ended && monotonic_ns() < deadline_ns) {
      const Instance* instance = worker->serving;
      if (instance != nullptr && instance->is_hung()) break;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    have_all_ended = have_all_ended && worker->has_ended;
  }
  return have_all_ended;
}

// mutex_ is held.
Dispatcher::Worker& Dispatcher::add_worker() {
  Worker& made = *workers_.emplace_back(std::make_unique<Worker>(bus_));
  made.thread = std::thread([this, &made] { run(made); });
  return made;
}

bool Dispatcher::is_stuck(const Worker& worker, std::int64_t now_ns) {
  return worker.serving != nullptr && now_ns - worker.serving_since_ns > kHandOverNs;
}

// mutex_ is held.
Dispatcher::Worker& Dispatcher::least_loaded(const Worker* but, std::int64_t now_ns) {
  Worker* found = nullptr;
  for (const auto& worker : workers_) {
    if (worker.get() == but || is_stuck(*worker, now_ns)) continue;
    if (found == nullptr || worker->instances.size() < found->instances.size()) {
      found = worker.get();
    }
  }
  const bool is_full = found != nullptr && !found->instances.empty();
  if (found == nullptr || (is_full && but == nullptr && workers_.size() < threads_)) {
    return add_worker();
  }
  return *found;
}

void Dispatcher::add(Instance& instance) {
  const std::scoped_lock lock(mutex_);
  Worker& worker = least_loaded(nullptr, monotonic_ns());
  worker.instances.push_back(&instance);
  ++worker.generation;
  worker.waker.wake();
}

void Dispatcher::remove(Instance& instance) {
  const Worker* of = nullptr;
  std::uint64_t round = 0;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& worker : workers_) {
      if (std::erase(worker->instances, &instance) == 0) continue;
      ++worker->generation;
      round = worker->rounds;
      worker->waker.wake();
      of = worker.get();
    }
  }
  // Its thread is done with the old list when it has taken the new one, or serves another.
  while (of != nullptr && !of->has_ended && of->rounds == round) {
    const Instance* serving = of->serving;
    if (serving != nullptr && serving != &instance && is_stuck(*of, monotonic_ns())) return;
    if (serving == &instance && instance.is_hung()) return;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

void Dispatcher::look(std::int64_t now_ns) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& stuck = *workers_[i];
    if (!is_stuck(stuck, now_ns) || stuck.instances.size() < 2) continue;
    const Instance* serving = stuck.serving;
    if (std::find(stuck.instances.begin(), stuck.instances.end(), serving) ==
        stuck.instances.end()) {
      continue;  // it has just come back
    }
    std::vector<Instance*> others = stuck.instances;
    std::erase(others, serving);
    std::erase_if(stuck.instances, [&](const Instance* one) { return one != serving; });
    ++stuck.generation;
    Worker& taker = least_loaded(&stuck, now_ns);
    taker.instances.insert(taker.instances.end(), others.begin(), others.end());
    ++taker.generation;
    taker.waker.wake();
  }
}

bool Dispatcher::serve(Worker& worker, Instance& instance) {
  constexpr std::uint32_t kBudget = 4 * Reader::kSliceEvents;  // per instance and turn
  if (!instance.has_work()) return false;
  worker.serving_since_ns = monotonic_ns();
  worker.serving = &instance;
  const bool has_worked = instance.serve(kBudget);
  if (checkpointer_ != nullptr && instance.wants_checkpoint()) checkpointer_->take(instance);
  worker.serving = nullptr;
  return has_worked;
}

void Dispatcher::run(Worker& worker) {
  need_signal_stack();
  const std::int64_t idle_ns = checkpoint_every_ns_ > 0 ? checkpoint_every_ns_ : kWaitForever;
  std::int64_t next_checkpoint_ns = monotonic_ns() + checkpoint_every_ns_;
  std::vector<Instance*> instances;
  std::uint64_t generation = 0;
  const auto refresh = [&] {
    ++worker.rounds;  // before the look at the list: who waits for a new round waits for that look
    if (generation == worker.generation) return;
    const std::scoped_lock lock(mutex_);
    instances = worker.instances;
    generation = worker.generation;
  };
  while (is_running_.load(std::memory_order_seq_cst)) {
    refresh();
    bool has_worked = false;
    for (Instance* instance : instances) {
      has_worked |= serve(worker, *instance);
      if (generation != worker.generation) break;  // some may be another thread's by now
    }
    if (checkpoint_every_ns_ > 0 && monotonic_ns() >= next_checkpoint_ns) {
      for (Instance* instance : instances) {
        worker.serving_since_ns = monotonic_ns();
        worker.serving = instance;
        checkpointer_->take(*instance);
        worker.serving = nullptr;
        if (generation != worker.generation) break;
      }
      next_checkpoint_ns = monotonic_ns() + checkpoint_every_ns_;
    }
    if (has_worked || generation != worker.generation) continue;
    worker.waker.wait(
        [&] {
          return !is_running_.load(std::memory_order_seq_cst) ||
                 generation != worker.generation.load() ||
                 std::any_of(instances.begin(), instances.end(),
                             [](const Instance* instance) { return instance->has_work(); });
        },
        idle_ns);
  }
  worker.has_ended = true;
}

}  // namespace ephor::host
