// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <map>
#include <string>

namespace ephor::alerter {

struct PostResult {
  int status = 0;       // of HTTP; 0: there was no answer
  std::string problem;  // empty: none

  bool is_good() const { return status >= 200 && status < 300; }
  // Another try may help: no answer, a fault of the other side, or too much at once.
  bool may_try_again() const {
    return status == 0 || status >= 500 || status == 408 || status == 425 || status == 429;
  }
};

struct PostRequest {
  std::string url;
  std::map<std::string, std::string> headers;
  std::string body;  // JSON
  double timeout_s = 5.0;
};

// One POST at a time over http or https; https is verified against the system's authorities.
class HttpPoster {
 public:
  PostResult post(const PostRequest& request) noexcept;
  // From another thread: an answer is waited for no longer, and nothing is sent any more.
  void abort() { is_aborted_ = true; }

 private:
  std::atomic<bool> is_aborted_{false};
};

}  // namespace ephor::alerter
