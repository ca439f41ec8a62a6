// SPDX-License-Identifier: Apache-2.0
#include "watcher.hpp"

#include <ephor/json.hpp>
#include <utility>

namespace ephor::http_api {
namespace {

std::string snapshot_message(const std::string& path, const Watcher::Look& look) {
  return R"({"type":"snapshot","watch":)" + dump(Json(path)) +
         ",\"status\":" + std::to_string(look.status) +
         ",\"as_of_sequence\":" + std::to_string(look.as_of_sequence) + ",\"body\":" + look.body +
         "}";
}

}  // namespace

Watcher::Watcher(std::chrono::nanoseconds interval, Callbacks callbacks)
    : interval_(interval), callbacks_(std::move(callbacks)), thread_([this] { run(); }) {}

Watcher::~Watcher() { stop(); }

void Watcher::hurry() {
  {
    std::lock_guard lock(mutex_);
    is_hurried_ = true;
  }
  wake_.notify_one();
}

void Watcher::stop() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Watcher::run() {
  auto due = std::chrono::steady_clock::now() + interval_;
  for (;;) {
    bool is_due = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, due, [&] { return is_stopping_ || is_hurried_; });
      if (is_stopping_) return;
      is_hurried_ = false;
      is_due = std::chrono::steady_clock::now() >= due;
    }
    go_round(is_due);
    // From the end of the round: answers slower than the interval must not follow each other.
    if (is_due) due = std::chrono::steady_clock::now() + interval_;
  }
}

void Watcher::go_round(bool is_due) {
  std::map<std::string, std::string> kept;
  for (const WatchedPath& watched : callbacks_.take_watched()) {
    std::string& last = kept[watched.path] = std::move(last_[watched.path]);
    if (!is_due && !watched.is_fresh) continue;
    Look look = callbacks_.look(watched.path);
    if (look.body == last && !watched.is_fresh) continue;
    callbacks_.push(watched.path, snapshot_message(watched.path, look));
    last = std::move(look.body);
  }
  last_ = std::move(kept);
}

}  // namespace ephor::http_api
