// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "core/event_log.hpp"
#include "core/instance.hpp"
#include "store/journal.hpp"
#include "store/storage.hpp"

namespace ephor::host {

// Commits checkpoints, several in one transaction, on a thread of its own, so that no dispatcher
// waits for the database. What a checkpoint covers is in the journal, durably, before it is
// committed: the events themselves and all that was derived from them. A commit that fails is tried
// again until it succeeds, because the plugin will not write those rows again.
class Checkpointer {
 public:
  // `must_sync`: the journal's commits are not on the disk by themselves.
  Checkpointer(Journal& journal, Storage& storage, EventLog& log, bool must_sync);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  // Takes a checkpoint of `instance` if there is something to save. [dispatch] of that instance.
  void take(Instance& instance);
  // Waits until everything taken is committed; false at the time-out.
  bool wait_until_saved(std::int64_t timeout_ns);

 private:
  struct Taken {
    Instance* instance;
    Checkpoint checkpoint;
  };
  void run();
  void save(std::vector<Taken>& group);

  Journal& journal_;
  Storage& storage_;
  EventLog& log_;
  const bool must_sync_;

  std::mutex mutex_;  // guards down to is_stopping_
  std::condition_variable changed_;
  std::vector<Taken> queue_;
  std::size_t open_ = 0;  // queued or being saved
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::host
