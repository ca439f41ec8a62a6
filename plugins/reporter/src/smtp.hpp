// SPDX-License-Identifier: Apache-2.0
//
// One mail to one recipient over SMTP (RFC 5321), with STARTTLS and login.
#pragma once

#include <Poco/Net/StreamSocket.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace ephor::reporter {

struct SmtpSettings {
  std::string host;  // empty: none is configured
  std::uint16_t port = 587;
  bool has_starttls = true;  // required: never sent without
  std::string user;
  std::string password;
  std::string from;
  int timeout_s = 30;
  int max_attempts = 30;
  int retry_s = 60;

  bool is_configured() const { return !host.empty(); }
};

enum class Delivered { sent, deferred, dead };

struct Outcome {
  Delivered delivered = Delivered::deferred;
  std::string error;
};

class SmtpClient {
 public:
  explicit SmtpClient(SmtpSettings settings) : settings_(std::move(settings)) {}

  // Blocks, at most the time-out in each step. `message`: what compose made. Refused for good (5xx
  // to sender, recipient or data): dead. All else that goes wrong is to be tried again.
  Outcome send(const std::string& recipient, const std::string& message);
  // Ends a conversation that is under way, and all further ones. [any]
  void cancel();

 private:
  SmtpSettings settings_;
  std::mutex mutex_;  // guards what follows
  std::optional<Poco::Net::StreamSocket> socket_;
  bool is_cancelled_ = false;
};

// The pause after `attempts` tries, in seconds: doubled each time, at most an hour.
std::int64_t retry_pause_s(std::int64_t attempts, std::int64_t first_pause_s);

}  // namespace ephor::reporter
