// SPDX-License-Identifier: Apache-2.0
//
// The head of a request and its body, as bytes off a socket. The first two bytes say in which
// pieces they come; the pieces must not matter.
#include <Poco/Net/HTTPRequest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "body.hpp"
#include "fuzz.hpp"
#include "head.hpp"

namespace {

using namespace ephor::http_api;
using ephor::fuzz::Input;

constexpr HeadLimits kLimits{4096, 512, 20};

std::size_t size_in_pieces(std::string_view bytes, std::size_t piece) {
  std::size_t scanned = 0;
  for (std::size_t size = std::min(piece, bytes.size());;
       size = std::min(size + piece, bytes.size())) {
    if (const std::size_t found = head_size(bytes.substr(0, size), scanned)) return found;
    if (size == bytes.size()) return 0;
  }
}

// Gives at most `piece` bytes at a time.
class Pieces final : public ByteSource {
 public:
  Pieces(std::string_view bytes, std::size_t piece) : bytes_(bytes), piece_(piece) {}
  int get() override {
    char byte = 0;
    return read(&byte, 1) == 0 ? -1 : static_cast<unsigned char>(byte);
  }
  std::size_t read(char* to, std::size_t capacity) override {
    const std::size_t size = bytes_.copy(to, std::min(capacity, piece_));
    bytes_.remove_prefix(size);
    return size;
  }

 private:
  std::string_view bytes_;
  std::size_t piece_;
};

// Empty: the framing is broken.
std::optional<std::string> body_of(std::string_view bytes, std::size_t piece) {
  Pieces source(bytes, piece);
  ChunkedBody body(source);
  std::string text;
  char room[97];
  try {
    while (const std::size_t got = body.read(room, sizeof room)) text.append(room, got);
  } catch (const BodyError&) {
    return std::nullopt;
  }
  EPHOR_PROMISE(body.at_end(), "a body that says no more is at its end");
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::size_t piece = 1 + input.number(1);
  const bool is_chunked = input.number(1) % 2 == 1;
  const std::string_view bytes = input.rest();
  if (is_chunked) {
    const auto whole = body_of(bytes, bytes.size() + 1);
    EPHOR_PROMISE(whole == body_of(bytes, piece), "the pieces do not matter for a chunked body");
    EPHOR_PROMISE(!whole || whole->size() < bytes.size(), "a body is no larger than its framing");
    return 0;
  }
  const std::size_t whole = size_in_pieces(bytes, bytes.size() + 1);
  EPHOR_PROMISE(whole == size_in_pieces(bytes, piece), "the pieces do not matter for a head");
  EPHOR_PROMISE(whole <= bytes.size(), "a head is no larger than what came");
  static_cast<void>(refusal_of_part(bytes, kLimits));
  static_cast<void>(lane_of(bytes));
  if (whole == 0) return 0;
  Poco::Net::HTTPRequest request;
  if (const auto refusal = read_head(bytes.substr(0, whole), kLimits, request)) {
    EPHOR_PROMISE(refusal->status >= 400 && !refusal->message.empty(), "a refusal says why");
    return 0;
  }
  EPHOR_PROMISE(request.size() <= kLimits.fields_max, "the limit of fields holds");
  EPHOR_PROMISE(request.getURI().size() <= kLimits.uri_bytes_max, "the limit of the target holds");
  for (const auto& [name, value] : request) {
    EPHOR_PROMISE(std::all_of(name.begin(), name.end(), is_token_character), "names are tokens");
    EPHOR_PROMISE(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
                  "no value can end a line");
  }
  return 0;
}
