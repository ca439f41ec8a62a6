// SPDX-License-Identifier: Apache-2.0
#include "core/dispatcher.hpp"

#include <algorithm>

namespace ephor::host {

Dispatcher::Dispatcher(Bus& bus, std::vector<Instance*> instances, std::size_t threads,
                       Checkpointer* checkpointer, std::int64_t checkpoint_every_ns)
    : checkpointer_(checkpointer), checkpoint_every_ns_(checkpoint_every_ns) {
  std::erase_if(instances, [](const Instance* instance) { return !instance->is_reader(); });
  const std::size_t count = std::min(std::max<std::size_t>(threads, 1), instances.size());
  for (std::size_t i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(bus));
  for (std::size_t i = 0; i < instances.size(); ++i) {
    workers_[i % count]->instances.push_back(instances[i]);
  }
  for (const auto& worker : workers_) {
    worker->thread = std::thread([this, &worker = *worker] { run(worker); });
  }
}

Dispatcher::~Dispatcher() {
  is_running_.store(false, std::memory_order_seq_cst);
  for (const auto& worker : workers_) worker->waker.wake();
  for (const auto& worker : workers_) worker->thread.join();
}

void Dispatcher::run(Worker& worker) {
  constexpr std::uint32_t kBudget = 4 * Reader::kSliceEvents;  // per instance and turn
  const std::int64_t idle_ns = checkpoint_every_ns_ > 0 ? checkpoint_every_ns_ : kWaitForever;
  std::int64_t next_checkpoint_ns = monotonic_ns() + checkpoint_every_ns_;
  while (is_running_.load(std::memory_order_seq_cst)) {
    bool has_worked = false;
    for (Instance* instance : worker.instances) has_worked |= instance->serve(kBudget);
    if (checkpoint_every_ns_ > 0 && monotonic_ns() >= next_checkpoint_ns) {
      for (Instance* instance : worker.instances) checkpointer_->take(*instance);
      next_checkpoint_ns = monotonic_ns() + checkpoint_every_ns_;
    }
    if (has_worked) continue;
    worker.waker.wait(
        [&] {
          return !is_running_.load(std::memory_order_seq_cst) ||
                 std::any_of(worker.instances.begin(), worker.instances.end(),
                             [](const Instance* instance) { return instance->has_work(); });
        },
        idle_ns);
  }
}

}  // namespace ephor::host
