// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "live_feed.hpp"
#include "session.hpp"

namespace ephor::simulator {

// What became of one batch of lines.
struct Sent {
  bool is_kept = false;  // false: nothing was kept, try again
  std::uint64_t accepted = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t rejected = 0;
  std::string problem;  // empty: none
};

struct FeederCounts {
  std::uint64_t cycles = 0;
  std::uint64_t accepted = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t rejected = 0;
  std::uint64_t retries = 0;
  bool is_behind = true;  // still on the past
  std::string problem;    // of the last batch; empty: none
};

// The thread that lets a session live: it makes the cycles that are due, sends them, and tries
// again until they are kept. What it shows and what is saved is always a session whose every event
// is kept; cycles that were in flight are made again after a restart, with the same ids.
class Feeder {
 public:
  using Clock = std::function<std::int64_t()>;         // ns since the Unix epoch
  using Send = std::function<Sent(std::string_view)>;  // called from the thread only
  using Change = std::function<void(std::vector<Fault>& faults, std::int64_t now_ns)>;

  Feeder(Session session, FeedTiming timing, Clock clock, Send send);
  ~Feeder();
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  void start();
  void stop();  // safe twice; waits for at most one send

  Session session() const;
  FeederCounts counts() const;
  // `now_ns` is the simulated time of the last cycle kept: a fault from there on is in the next
  // one.
  void change_faults(const Change& change);

 private:
  void run();
  bool send_until_kept(const FeedBatch& batch);
  // False if it was told to stop.
  bool wait_until(std::int64_t time_ns);
  bool wait_for(std::int64_t duration_ns);

  const FeedTiming timing_;
  const Clock clock_;
  const Send send_;
  std::thread thread_;

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  bool is_stopping_ = false;
  Session kept_;
  FeederCounts counts_;
};

}  // namespace ephor::simulator
