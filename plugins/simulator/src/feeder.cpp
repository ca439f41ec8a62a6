// SPDX-License-Identifier: Apache-2.0
#include "feeder.hpp"

#include <algorithm>
#include <chrono>

namespace ephor::simulator {
namespace {

constexpr std::uint64_t kCyclesPerBatch = 32;  // of the past: some 900 events
constexpr std::int64_t kRetryLeastNs = 100'000'000;
constexpr std::int64_t kRetryMostNs = 5'000'000'000;

}  // namespace

Feeder::Feeder(Session session, FeedTiming timing, Clock clock, Send send)
    : timing_(timing),
      clock_(std::move(clock)),
      send_(std::move(send)),
      kept_(std::move(session)) {}

Feeder::~Feeder() { stop(); }

void Feeder::start() {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Feeder::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Session Feeder::session() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

FeederCounts Feeder::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Feeder::change_faults(const Change& change) {
  const std::lock_guard lock(mutex_);
  const std::int64_t last_ns = kept_.last_time_ns();
  std::vector<Fault> faults = kept_.faults();  // unchanged if `change` throws
  change(faults, last_ns == 0 ? clock_() : last_ns + 1);
  kept_.faults() = std::move(faults);
}

void Feeder::run() {
  Session session = this->session();
  LiveFeed feed(session, timing_, clock_());
  while (wait_until(feed.next_ns())) {
    {
      const std::lock_guard lock(mutex_);
      session.faults() = kept_.faults();
    }
    const std::int64_t now_ns = clock_();
    const bool is_behind = feed.is_behind(now_ns);
    const FeedBatch batch = feed.take(now_ns, is_behind ? kCyclesPerBatch : 1);
    if (batch.cycles == 0) continue;  // the clock went back
    if (!wait_until(batch.not_before_ns) || !send_until_kept(batch)) return;
    const std::lock_guard lock(mutex_);
    const std::vector<Fault> faults = std::move(kept_.faults());  // they may have changed meanwhile
    kept_ = session;
    kept_.faults() = faults;
    counts_.cycles += batch.cycles;
    counts_.is_behind = feed.is_behind(now_ns);
  }
}

bool Feeder::send_until_kept(const FeedBatch& batch) {
  for (std::int64_t pause_ns = kRetryLeastNs;; pause_ns = std::min(2 * pause_ns, kRetryMostNs)) {
    Sent sent = send_(batch.lines);
    {
      const std::lock_guard lock(mutex_);
      counts_.problem = std::move(sent.problem);
      counts_.accepted += sent.accepted;
      counts_.duplicate += sent.duplicate;
      counts_.rejected += sent.rejected;
      if (!sent.is_kept) ++counts_.retries;
    }
    if (sent.is_kept) return true;
    if (!wait_for(pause_ns)) return false;
  }
}

bool Feeder::wait_until(std::int64_t time_ns) {
  for (;;) {
    // The clock is asked again: it may be set while we sleep.
    const std::int64_t left_ns = time_ns - clock_();
    if (!wait_for(std::clamp<std::int64_t>(left_ns, 0, 1'000'000'000))) return false;
    if (left_ns <= 1'000'000'000) return true;
  }
}

bool Feeder::wait_for(std::int64_t duration_ns) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::nanoseconds(duration_ns),
                            [&] { return is_stopping_; });
}

}  // namespace ephor::simulator
