// SPDX-License-Identifier: Apache-2.0
//
// The outbox at work: one thread that sends what is due, one mail after another. What became of a
// try is told before the next one begins; who keeps the outbox durable is the owner.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "smtp.hpp"

namespace ephor::reporter {

struct OutboxItem {
  std::string report_id;
  std::string recipient;
  std::int64_t attempts = 0;
  std::int64_t next_attempt_ns = 0;  // 0: at once
};

class Mailer {
 public:
  struct Callbacks {
    // On the mailer's thread. The mail's text; empty if it was settled before (a crash came between
    // its settling and the last checkpoint). Throws if it cannot be made: then it is dead.
    std::function<std::string(const OutboxItem&)> message_of;
    // Keeps the result durably. False: try again; nothing further is sent before it succeeds.
    std::function<bool(const OutboxItem&, const Outcome&)> record;
    std::function<std::int64_t()> clock_ns;
  };

  Mailer(SmtpSettings settings, Callbacks callbacks)
      : settings_(settings), client_(settings), callbacks_(std::move(callbacks)) {}
  ~Mailer() { stop(); }
  Mailer(const Mailer&) = delete;
  Mailer& operator=(const Mailer&) = delete;

  void start();
  void stop();
  // [any] An item that is there already stays as it is.
  void add(OutboxItem item);

 private:
  using Key = std::pair<std::string, std::string>;

  void run();
  void serve(OutboxItem item);

  SmtpSettings settings_;
  SmtpClient client_;
  Callbacks callbacks_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<Key, OutboxItem> items_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace ephor::reporter
