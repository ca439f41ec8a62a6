// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "bus/bus.hpp"
#include "core/checkpointer.hpp"
#include "core/instance.hpp"

namespace ephor::host {

// The threads that deliver events. Each serves several instances, one slice at a time in turn: on
// few cores fewer threads than readers is faster (docs/adr/0006). Between slices it takes the
// checkpoints that are due.
class Dispatcher {
 public:
  // `checkpoint_every_ns` <= 0: never by itself.
  Dispatcher(Bus& bus, std::vector<Instance*> instances, std::size_t threads,
             Checkpointer* checkpointer, std::int64_t checkpoint_every_ns);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

 private:
  struct Worker {
    explicit Worker(Bus& bus) : waker(bus.wakers()) {}
    Waker waker;
    std::vector<Instance*> instances;
    std::thread thread;
  };
  void run(Worker& worker);

  Checkpointer* checkpointer_;
  const std::int64_t checkpoint_every_ns_;
  std::atomic<bool> is_running_{true};
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace ephor::host
