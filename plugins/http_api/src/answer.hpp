// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor::http_api {

struct Answer {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string message;               // of a failure: what `body` says, for other dialects
  std::uint64_t as_of_sequence = 0;  // 0: that of the log
  bool must_close = false;
  // Only with status 101: what the new WebSocket client asked for in its address.
  std::vector<std::string> topics;
};

// {"error": {"code", "message", "pointer"}}
Answer error_answer(int status, std::string_view code, std::string_view message,
                    std::string_view pointer = {});
// The HTTP status and the word for a status of the ABI.
int http_status_of(ephor_status status);
std::string_view code_of(ephor_status status);
Answer failure_answer(ephor_status status, std::string_view message, std::string_view pointer = {});
Answer busy_answer(std::string_view message);  // 503 with Retry-After

std::string_view reason_phrase(int status);

// "gzip" is among the accepted encodings of an Accept-Encoding header, not with q=0.
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace ephor::http_api
