// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bus/bus.hpp"
#include "core/checkpointer.hpp"
#include "core/instance.hpp"

namespace ephor::host {

// The threads that deliver events. Each serves several instances, one slice at a time in turn: on
// few cores fewer threads than readers is faster (docs/adr/0006). Between slices it takes the
// checkpoints that are due.
//
// A thread that stays in one plugin for longer than kHandOverNs loses its other instances to the
// least loaded thread that is not stuck, or to a new one: a plugin that hangs or is slow holds up
// nobody else.
class Dispatcher {
 public:
  static constexpr std::int64_t kHandOverNs = 20'000'000;

  // `checkpoint_every_ns` <= 0: never by itself.
  Dispatcher(Bus& bus, std::size_t threads, Checkpointer* checkpointer,
             std::int64_t checkpoint_every_ns);
  ~Dispatcher();  // waits for every thread, also those that are stuck
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // [control] Serves `instance` from now on; both outlive the dispatcher or `remove`.
  void add(Instance& instance);
  // [control] Returns when no thread serves it.
  void remove(Instance& instance);
  // [control] Ends the threads that come back within the time; true if all did.
  bool stop(std::int64_t timeout_ns);
  // [any] The supervisor's look: takes instances away from threads that are stuck.
  void look(std::int64_t now_ns);

 private:
  struct Worker {
    explicit Worker(Bus& bus) : waker(bus.wakers()) {}
    Waker waker;
    std::vector<Instance*> instances;          // guarded by mutex_
    std::atomic<std::uint64_t> generation{1};  // of instances
    std::atomic<Instance*> serving{nullptr};
    std::atomic<std::int64_t> serving_since_ns{0};
    std::atomic<std::uint64_t> rounds{0};  // times it looked at its list
    std::atomic<bool> has_ended{false};
    std::thread thread;
  };
  Worker& add_worker();
  Worker& least_loaded(const Worker* but, std::int64_t now_ns);
  static bool is_stuck(const Worker& worker, std::int64_t now_ns);
  void run(Worker& worker);
  bool serve(Worker& worker, Instance& instance);

  Bus& bus_;
  const std::size_t threads_;
  Checkpointer* checkpointer_;
  const std::int64_t checkpoint_every_ns_;
  std::atomic<bool> is_running_{true};
  std::mutex mutex_;  // guards workers_ and their instances
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace ephor::host
