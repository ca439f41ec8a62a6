// SPDX-License-Identifier: Apache-2.0
#include "body.hpp"

#include <charconv>

namespace ephor::http_api {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool parse_number(std::string_view text, int base, std::uint64_t& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value, base);
  return result.ec == std::errc() && result.ptr == end;
}

bool equals_ignoring_case(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a + 32 : a) == (b >= 'A' && b <= 'Z' ? b + 32 : b);
  });
}

}  // namespace

std::string ChunkedBody::line() {
  std::string text;
  for (;;) {
    const int byte = source_.get();
    if (byte < 0) throw BodyError("the body ended inside its chunk framing");
    if (byte == '\n') break;
    text.push_back(static_cast<char>(byte));
    if (text.size() > kLineSizeMax) throw BodyError("a line of the chunk framing is too long");
  }
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

void ChunkedBody::next_chunk() {
  if (in_chunk_ && !line().empty()) throw BodyError("a chunk is longer than its size says");
  const std::string head = line();
  const std::string_view digits = trimmed(std::string_view(head).substr(0, head.find(';')));
  if (digits.empty() || !parse_number(digits, 16, left_)) {
    throw BodyError("a chunk has no hexadecimal size");
  }
  in_chunk_ = true;
  if (left_ > 0) return;
  std::size_t trailers = 0;
  while (!line().empty()) {
    if (++trailers > kTrailersMax) throw BodyError("too many trailers");
  }
  is_done_ = true;
}

std::size_t ChunkedBody::read(char* to, std::size_t capacity) {
  if (left_ == 0 && !is_done_) next_chunk();
  if (is_done_) return 0;
  const std::size_t got =
      source_.read(to, static_cast<std::size_t>(std::min<std::uint64_t>(capacity, left_)));
  if (got == 0) throw BodyError("the body ended inside a chunk");
  left_ -= got;
  return got;
}

Framing framing_of(std::string_view lengths, std::string_view encodings) {
  Framing framing;
  if (!encodings.empty()) {
    if (!lengths.empty()) {
      framing.error = "found both Content-Length and Transfer-Encoding, expected one";
    } else if (!equals_ignoring_case(trimmed(encodings), "chunked")) {
      framing.error = "Transfer-Encoding: found \"" + std::string(encodings.substr(0, 64)) +
                      "\", expected \"chunked\"";
    }
    framing.is_chunked = true;
    return framing;
  }
  bool is_first = true;
  while (!lengths.empty()) {
    const std::size_t comma = lengths.find(',');
    const std::string_view text = trimmed(lengths.substr(0, comma));
    std::uint64_t value = 0;
    if (!parse_number(text, 10, value) || (!is_first && value != framing.length)) {
      framing.error = "Content-Length: found \"" + std::string(lengths.substr(0, 64)) +
                      "\", expected one whole number";
      return framing;
    }
    framing.length = value;
    is_first = false;
    lengths = comma == std::string_view::npos ? std::string_view() : lengths.substr(comma + 1);
  }
  return framing;
}

}  // namespace ephor::http_api
