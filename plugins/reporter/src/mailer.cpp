// SPDX-License-Identifier: Apache-2.0
#include "mailer.hpp"

#include <algorithm>
#include <chrono>

namespace ephor::reporter {

void Mailer::start() {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable() || is_stopping_) return;
  thread_ = std::thread([this] { run(); });
}

void Mailer::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  client_.cancel();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Mailer::add(OutboxItem item) {
  const std::lock_guard lock(mutex_);
  Key key(item.report_id, item.recipient);
  items_.emplace(std::move(key), std::move(item));
  changed_.notify_all();
}

void Mailer::run() {
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    const auto next =
        std::min_element(items_.begin(), items_.end(), [](const auto& a, const auto& b) {
          return a.second.next_attempt_ns < b.second.next_attempt_ns;
        });
    if (next == items_.end()) {
      changed_.wait(lock);
      continue;
    }
    const std::int64_t pause_ns = next->second.next_attempt_ns - callbacks_.clock_ns();
    if (pause_ns > 0) {
      // Looks up now and then: the clock may be set while it sleeps.
      constexpr std::int64_t kLookUpNs = 5'000'000'000;
      changed_.wait_for(lock, std::chrono::nanoseconds(std::min(pause_ns, kLookUpNs)));
      continue;
    }
    const OutboxItem item = next->second;
    lock.unlock();
    serve(item);
    lock.lock();
  }
}

void Mailer::serve(OutboxItem item) {
  const Key key(item.report_id, item.recipient);
  Outcome outcome;
  try {
    const std::string message = callbacks_.message_of(item);
    if (message.empty()) {
      const std::lock_guard lock(mutex_);
      items_.erase(key);
      return;
    }
    outcome = client_.send(item.recipient, message);
  } catch (const std::exception& failure) {
    outcome = {Delivered::dead, failure.what()};
  }
  {
    // A try that was broken off by the end of the process does not count.
    const std::lock_guard lock(mutex_);
    if (is_stopping_ && outcome.delivered != Delivered::sent) return;
  }
  ++item.attempts;
  if (outcome.delivered == Delivered::deferred && item.attempts >= settings_.max_attempts) {
    outcome = {Delivered::dead,
               "given up after " + std::to_string(item.attempts) + " tries: " + outcome.error};
  }
  const bool is_deferred = outcome.delivered == Delivered::deferred;
  item.next_attempt_ns =
      is_deferred
          ? callbacks_.clock_ns() + retry_pause_s(item.attempts, settings_.retry_s) * 1'000'000'000
          : 0;
  while (!callbacks_.record(item, outcome)) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(1), [&] { return is_stopping_; });
    if (is_stopping_) return;
  }
  const std::lock_guard lock(mutex_);
  if (is_deferred)
    items_[key] = item;
  else
    items_.erase(key);
}

}  // namespace ephor::reporter
