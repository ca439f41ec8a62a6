// SPDX-License-Identifier: Apache-2.0
#include "answer.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ephor/json.hpp>

namespace ephor::http_api {

Answer error_answer(int status, std::string_view code, std::string_view message,
                    std::string_view pointer) {
  Answer answer;
  answer.status = status;
  answer.message = message;
  answer.body = dump(Json{{"error",
                           {{"code", code},
                            {"message", message},
                            {"pointer", pointer.empty() ? Json() : Json(pointer)}}}});
  return answer;
}

int http_status_of(ephor_status status) {
  switch (status) {
    case EPHOR_OK:
      return 200;
    case EPHOR_INVALID:
      return 400;
    case EPHOR_NOT_FOUND:
      return 404;
    case EPHOR_STATE:
      return 503;
    case EPHOR_UNSUPPORTED:
      return 501;
    case EPHOR_FULL:
      return 503;
    case EPHOR_TIMEOUT:
      return 504;
    case EPHOR_IO:
      return 503;
    case EPHOR_DENIED:
      return 403;
    case EPHOR_CONFLICT:
      return 409;
    default:
      return 500;
  }
}

std::string_view code_of(ephor_status status) {
  switch (status) {
    case EPHOR_INVALID:
      return "invalid";
    case EPHOR_NOT_FOUND:
      return "not_found";
    case EPHOR_STATE:
      return "unavailable";
    case EPHOR_UNSUPPORTED:
      return "unsupported";
    case EPHOR_FULL:
      return "busy";
    case EPHOR_TIMEOUT:
      return "timeout";
    case EPHOR_IO:
      return "io";
    case EPHOR_DENIED:
      return "denied";
    case EPHOR_CONFLICT:
      return "conflict";
    default:
      return "internal";
  }
}

Answer failure_answer(ephor_status status, std::string_view message, std::string_view pointer) {
  Answer answer = error_answer(http_status_of(status), code_of(status), message, pointer);
  if (answer.status == 503) answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

Answer busy_answer(std::string_view message) { return failure_answer(EPHOR_FULL, message); }

std::string_view reason_phrase(int status) {
  struct Phrase {
    int status;
    std::string_view text;
  };
  static constexpr std::array<Phrase, 22> kPhrases{{{101, "Switching Protocols"},
                                                    {200, "OK"},
                                                    {204, "No Content"},
                                                    {400, "Bad Request"},
                                                    {401, "Unauthorized"},
                                                    {403, "Forbidden"},
                                                    {404, "Not Found"},
                                                    {405, "Method Not Allowed"},
                                                    {408, "Request Timeout"},
                                                    {409, "Conflict"},
                                                    {411, "Length Required"},
                                                    {413, "Content Too Large"},
                                                    {414, "URI Too Long"},
                                                    {415, "Unsupported Media Type"},
                                                    {426, "Upgrade Required"},
                                                    {429, "Too Many Requests"},
                                                    {431, "Request Header Fields Too Large"},
                                                    {500, "Internal Server Error"},
                                                    {501, "Not Implemented"},
                                                    {503, "Service Unavailable"},
                                                    {504, "Gateway Timeout"},
                                                    {505, "HTTP Version Not Supported"}}};
  const auto found = std::find_if(kPhrases.begin(), kPhrases.end(),
                                  [&](const Phrase& phrase) { return phrase.status == status; });
  return found == kPhrases.end() ? std::string_view("Unknown") : found->text;
}

bool accepts_gzip(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const std::size_t comma = accept_encoding.find(',');
    std::string_view entry = accept_encoding.substr(0, comma);
    accept_encoding =
        comma == std::string_view::npos ? std::string_view() : accept_encoding.substr(comma + 1);
    const std::size_t first = entry.find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    entry.remove_prefix(first);
    const std::string_view name = entry.substr(0, entry.find_first_of("; \t"));
    if (name != "gzip" && name != "*") continue;
    const std::size_t quality = entry.find("q=");
    return quality == std::string_view::npos ||
           std::strtod(std::string(entry.substr(quality + 2)).c_str(), nullptr) > 0.0;
  }
  return false;
}

}  // namespace ephor::http_api
