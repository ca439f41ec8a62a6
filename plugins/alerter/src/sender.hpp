// SPDX-License-Identifier: Apache-2.0
//
// Sends deliveries on a thread of its own, again and again with growing pauses, until each is
// settled; what came of them is handed back to be put into the log. Only a live host has one.
//
// What is to be sent is durable before it comes here: its ephor.alert event has been read from the
// log. A crash between sending and recording sends again, with the same key.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "alert_book.hpp"
#include "http_post.hpp"
#include "settings.hpp"

namespace ephor::alerter {

struct Job {
  std::string alert_id;
  std::uint64_t transition = 0;
  std::string webhook;
  std::int64_t time_ns = 0;  // event time
  std::string body;

  // Stable: what the receiver tells repetitions by.
  std::string key() const { return alert_id + "-" + std::to_string(transition); }
};

struct SenderTiming {
  std::int64_t max_age_ns;
  std::uint64_t max_attempts;
  std::int64_t retry_least_ns;
  std::int64_t retry_most_ns;
  std::int64_t settle_ns;
};

class Sender {
 public:
  using Post = std::function<PostResult(const PostRequest&)>;
  // Puts outcomes into the log. False: not now; they are handed over again.
  using Record = std::function<bool(const std::vector<Outcome>&)>;

  // `poster` may be replaced in tests through `post`.
  Sender(std::vector<WebhookSettings> webhooks, SenderTiming timing, Record record, Post post = {});
  ~Sender();

  void start();
  void stop();
  void add(Job job);
  // Before it is sent: no more. What is under way may still be delivered.
  void cancel(const std::string& alert_id, std::uint64_t transition, const std::string& webhook);
  std::size_t waiting() const;

 private:
  struct Waiting {
    Job job;
    std::uint64_t attempts = 0;
    std::string problem;
  };

  void run();
  // The outcome of a try; empty: not settled yet.
  bool attempt(Waiting& waiting, Outcome& outcome);
  void record_settled(std::unique_lock<std::mutex>& lock);
  std::int64_t pause_ns(std::uint64_t attempts) const;

  const std::map<std::string, WebhookSettings> webhooks_;
  const SenderTiming timing_;
  const Record record_;
  const Post post_;
  HttpPoster poster_;
  mutable std::mutex mutex_;  // guards queue_, settled_, is_stopping_
  std::condition_variable changed_;
  std::multimap<std::int64_t, Waiting> queue_;  // by when it is due, monotonic clock
  std::vector<Outcome> settled_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::alerter
