// SPDX-License-Identifier: Apache-2.0
#include "worker_pool.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr int kThreadsAtFirst = 4;
constexpr std::int64_t kFreshNs = 200'000;          // who serves for longer waits for something
constexpr std::int64_t kPatienceNs = 1'000'000;     // then one more is woken for the queue
constexpr std::int64_t kStandstillNs = 10'000'000;  // nothing left the queue for so long
constexpr std::int64_t kWindowNs = 50'000'000;      // or fewer requests than there are threads
constexpr std::int64_t kIdleNs = 60'000'000'000;    // a thread without work ends after it

int processors() {
  static const int count = std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
  return count;
}

}  // namespace

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

WorkerPool::WorkerPool(int threads_max, int queue_max, std::function<void(Connection&)> serve)
    : threads_max_(threads_max),
      queue_max_(queue_max),
      threads_least_(std::min(threads_max, kThreadsAtFirst)),
      serve_(std::move(serve)) {
  std::lock_guard lock(mutex_);
  for (int i = 0; i < threads_least_; ++i) add_worker();
}

WorkerPool::~WorkerPool() { stop(); }

void WorkerPool::add_worker() {
  auto worker = std::make_unique<Worker>();
  Worker& made = *worker;
  workers_.push_back(std::move(worker));
  made.thread = std::thread([this, &made] { run(made); });
  ++threads_;
}

void WorkerPool::note_wait(std::int64_t waited_ns) {
  const auto waited = static_cast<std::uint64_t>(std::max<std::int64_t>(waited_ns, 0));
  ++figures_.served;
  figures_.queue_ns_sum += waited;
  figures_.queue_ns_most = std::max(figures_.queue_ns_most, waited);
}

WorkerPool::Worker* WorkerPool::take_sleeper() {
  if (idle_.empty()) return nullptr;
  Worker* const worker = idle_.back();
  idle_.pop_back();
  worker->is_woken = true;
  ++woken_;
  return worker;
}

bool WorkerPool::push(Connection& connection) {
  Worker* sleeper = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (is_stopping_) return false;
    // Threads that are not made yet count as places.
    if (busy_ + static_cast<int>(queue_.size()) >= threads_max_ + queue_max_) {
      ++figures_.refused;
      return false;
    }
    const std::int64_t now = monotonic_ns();
    if (queue_.empty()) last_taken_ns_ = now;
    queue_.push_back({&connection, now});
    if (!idle_.empty()) {
      const auto fresh = std::count_if(workers_.begin(), workers_.end(), [now](const auto& worker) {
        return worker->is_busy && now - worker->since_ns < kFreshNs;
      });
      if (woken_ + fresh < processors()) sleeper = take_sleeper();
    }
  }
  if (sleeper != nullptr) sleeper->wake.notify_one();  // behind the lock, which it needs
  return true;
}

bool WorkerPool::has_queue() const {
  std::lock_guard lock(mutex_);
  return !queue_.empty();
}

bool WorkerPool::tend(std::int64_t now_ns) {
  bool has_queue = false;
  Worker* sleeper = nullptr;
  std::vector<std::unique_ptr<Worker>> ended;
  {
    std::lock_guard lock(mutex_);
    if (is_stopping_) return false;
    has_queue = !queue_.empty();
    if (has_queue) {
      // Whoever is at work has had its time.
      if (now_ns - queue_.front().since_ns > kPatienceNs) sleeper = take_sleeper();
      const bool stands_still = now_ns - last_taken_ns_ > kStandstillNs;
      if (idle_.empty() && sleeper == nullptr && (stands_still || is_slow(now_ns))) {
        const int wanted = std::min(static_cast<int>(queue_.size()), std::max(1, threads_ / 2));
        for (int i = std::min(wanted, threads_max_ - threads_); i > 0; --i) add_worker();
        last_taken_ns_ = now_ns;  // the new ones get their time
      }
    } else if (threads_ > threads_least_ && !idle_.empty() &&
               now_ns - idle_.front()->since_ns > kIdleNs) {
      idle_.front()->must_end = true;
      idle_.front()->wake.notify_one();
      idle_.erase(idle_.begin());
      --threads_;
    }
    ended = take_ended();
  }
  if (sleeper != nullptr) sleeper->wake.notify_one();
  for (const auto& worker : ended) worker->thread.join();
  return has_queue;
}

std::vector<std::unique_ptr<WorkerPool::Worker>> WorkerPool::take_ended() {
  std::vector<std::unique_ptr<Worker>> ended;
  for (auto worker = workers_.begin(); worker != workers_.end();) {
    if ((*worker)->has_ended) {
      ended.push_back(std::move(*worker));
      worker = workers_.erase(worker);
    } else {
      ++worker;
    }
  }
  return ended;
}

void WorkerPool::run(Worker& worker) {
  std::unique_lock lock(mutex_);
  while (!is_stopping_ && !worker.must_end) {
    if (queue_.empty()) {
      worker.since_ns = monotonic_ns();
      idle_.push_back(&worker);
      worker.wake.wait(lock, [&] { return worker.is_woken || worker.must_end || is_stopping_; });
      if (std::exchange(worker.is_woken, false)) --woken_;
      continue;
    }
    Connection& connection = *queue_.front().connection;
    worker.since_ns = last_taken_ns_ = monotonic_ns();
    note_wait(last_taken_ns_ - queue_.front().since_ns);
    queue_.pop_front();
    worker.is_busy = true;
    ++busy_;
    lock.unlock();
    serve_(connection);
    lock.lock();
    worker.is_busy = false;
    --busy_;
  }
  worker.has_ended = true;
}

// Fewer requests found a thread in a while than there are threads: each of them takes long.
bool WorkerPool::is_slow(std::int64_t now_ns) {
  if (now_ns - window_begin_ns_ < kWindowNs) return false;
  const bool is_new = now_ns - window_begin_ns_ > 2 * kWindowNs;  // nothing waited meanwhile
  const std::uint64_t served = figures_.served - std::exchange(window_served_, figures_.served);
  window_begin_ns_ = now_ns;
  return !is_new && served < static_cast<std::uint64_t>(threads_);
}

std::vector<Connection*> WorkerPool::stop() {
  std::vector<Connection*> left;
  std::vector<std::unique_ptr<Worker>> workers;
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    for (const Waiting& waiting : queue_) left.push_back(waiting.connection);
    queue_.clear();
    for (const auto& worker : workers_) worker->wake.notify_one();
    workers.swap(workers_);
  }
  for (const auto& worker : workers) worker->thread.join();
  std::lock_guard lock(mutex_);
  // push may be about to wake one of them.
  std::move(workers.begin(), workers.end(), std::back_inserter(stopped_));
  idle_.clear();
  threads_ = 0;
  return left;
}

WorkerPool::Figures WorkerPool::figures() {
  std::lock_guard lock(mutex_);
  Figures figures = figures_;
  figures.threads = threads_;
  figures.busy = busy_;
  figures.queued = static_cast<int>(queue_.size());
  figures_.queue_ns_most = 0;
  return figures;
}

}  // namespace ephor::http_api
