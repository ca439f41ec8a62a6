// SPDX-License-Identifier: Apache-2.0
#include "head.hpp"

#include <Poco/Net/HTTPMessage.h>

#include <algorithm>
#include <array>

namespace ephor::http_api {
namespace {

constexpr std::size_t kMethodBytesMax = 32;
// Behind the target: " HTTP/1.1" and the method before it.
constexpr std::size_t kLineBytesBesideTarget = kMethodBytesMax + 16;

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

// Tab and everything printable; bytes above 0x7F are somebody's text.
bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
  });
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The next line without its end; `head` goes on behind it.
std::string_view next_line(std::string_view& head) {
  const std::size_t end = head.find('\n');
  std::string_view line = head.substr(0, end);
  head = end == std::string_view::npos ? std::string_view() : head.substr(end + 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

Refusal invalid(std::string message) { return {400, "invalid", std::move(message)}; }

Refusal uri_too_long(const HeadLimits& limits) {
  return {414, "uri_too_long",
          "the request target is longer than " + std::to_string(limits.uri_bytes_max) + " bytes"};
}

Refusal head_too_large(const HeadLimits& limits) {
  return {431, "head_too_large",
          "the head of the request is larger than " + std::to_string(limits.bytes_max) + " bytes"};
}

std::optional<Refusal> read_request_line(std::string_view line, const HeadLimits& limits,
                                         Poco::Net::HTTPRequest& request) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) {
    return invalid("the request line is not of the form METHOD TARGET HTTP/1.1");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || method.size() > kMethodBytesMax) {
    return invalid("the method of the request is no word of at most 32 characters");
  }
  if (target.size() > limits.uri_bytes_max) return uri_too_long(limits);
  const bool is_visible = std::all_of(target.begin(), target.end(), [](char character) {
    return static_cast<unsigned char>(character) > ' ' && character != 0x7F;
  });
  if (target.empty() || !is_visible) return invalid("the request target is no valid path");
  if (version.size() != 8 || !version.starts_with("HTTP/")) {
    return invalid("the request line does not end in HTTP/1.1");
  }
  if (!version.starts_with("HTTP/1.")) {
    return Refusal{505, "http_version",
                   "found " + std::string(version) + ", expected HTTP/1.1 or HTTP/1.0"};
  }
  request.setMethod(std::string(method));
  request.setURI(std::string(target));
  request.setVersion(version == "HTTP/1.0" ? Poco::Net::HTTPMessage::HTTP_1_0
                                           : Poco::Net::HTTPMessage::HTTP_1_1);
  return std::nullopt;
}

}  // namespace

bool is_token_character(char character) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') ||
         kOthers.find(character) != std::string_view::npos;
}

std::size_t head_size(std::string_view bytes, std::size_t& scanned) {
  std::size_t at = scanned;
  for (;;) {
    at = bytes.find('\n', at);
    if (at == std::string_view::npos) break;
    std::size_t next = at + 1;
    if (next < bytes.size() && bytes[next] == '\r') ++next;
    if (next >= bytes.size()) {  // what follows this line's end is not known yet
      scanned = at;
      return 0;
    }
    if (bytes[next] == '\n') return next + 1;
    at = next;
  }
  scanned = bytes.size();
  return 0;
}

std::optional<Refusal> refusal_of_part(std::string_view bytes, const HeadLimits& limits) {
  if (bytes.empty()) return std::nullopt;
  if (!is_token_character(bytes.front())) {
    return invalid("the bytes are no HTTP/1.1 request (TLS belongs to a proxy in front)");
  }
  const std::size_t line_end = std::min(bytes.find('\n'), bytes.size());
  if (line_end > limits.uri_bytes_max + kLineBytesBesideTarget) return uri_too_long(limits);
  if (bytes.size() > limits.bytes_max) return head_too_large(limits);
  return std::nullopt;
}

std::optional<Refusal> read_head(std::string_view head, const HeadLimits& limits,
                                 Poco::Net::HTTPRequest& request) {
  std::string_view rest = head;
  if (auto refusal = read_request_line(next_line(rest), limits, request)) return refusal;
  if (head.size() > limits.bytes_max) return head_too_large(limits);
  std::size_t fields = 0;
  for (std::string_view line = next_line(rest); !line.empty(); line = next_line(rest)) {
    if (++fields > limits.fields_max) {
      return Refusal{
          431, "too_many_fields",
          "the head of the request has more than " + std::to_string(limits.fields_max) + " fields"};
    }
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(name)) {
      return invalid("field " + std::to_string(fields) +
                     " of the head is not of the form NAME: VALUE");
    }
    const std::string_view value = without_blanks(line.substr(colon + 1));
    if (!is_field_value(value)) {
      return invalid("field " + std::to_string(fields) + " of the head has a control character");
    }
    std::string name_text(name);
    if (Poco::icompare(name_text, "Host") == 0 && request.has("Host")) {
      return invalid("found two fields Host, expected one");
    }
    request.add(name_text, std::string(value));
  }
  return std::nullopt;
}

Lane lane_of(std::string_view head) {
  constexpr std::string_view kMethod = "POST ";
  if (!head.starts_with(kMethod)) return Lane::reads;
  head.remove_prefix(kMethod.size());
  const std::string_view path = head.substr(0, head.find_first_of(" ?\r\n"));
  static constexpr std::array<std::string_view, 6> kIngest{
      "/api/events", "/v1/traces", "/v1/metrics", "/v1/logs", "/write", "/api/v2/write"};
  return std::find(kIngest.begin(), kIngest.end(), path) == kIngest.end() ? Lane::reads
                                                                          : Lane::ingest;
}

}  // namespace ephor::http_api
