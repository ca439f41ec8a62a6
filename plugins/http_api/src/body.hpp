// SPDX-License-Identifier: Apache-2.0
//
// The body of a request as bytes, whatever its framing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ephor::http_api {

// The framing is broken or the client stopped sending: the connection cannot be used again.
class BodyError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a connection offers: single bytes through its buffer, larger pieces straight from the
// socket.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual int get() = 0;                                         // -1: closed
  virtual std::size_t read(char* to, std::size_t capacity) = 0;  // 0: closed
};

class Body {
 public:
  virtual ~Body() = default;
  // Known before the first read; empty for a chunked body.
  virtual std::optional<std::uint64_t> length() const = 0;
  // 1 to `capacity` bytes; 0 at the end. Throws BodyError.
  virtual std::size_t read(char* to, std::size_t capacity) = 0;
  virtual bool at_end() const = 0;
};

class FixedBody final : public Body {
 public:
  FixedBody(ByteSource& source, std::uint64_t length)
      : source_(source), length_(length), left_(length) {}
  std::optional<std::uint64_t> length() const override { return length_; }
  bool at_end() const override { return left_ == 0; }
  std::size_t read(char* to, std::size_t capacity) override {
    if (left_ == 0) return 0;
    const std::size_t got =
        source_.read(to, static_cast<std::size_t>(std::min<std::uint64_t>(capacity, left_)));
    if (got == 0) throw BodyError("the body ended before its Content-Length");
    left_ -= got;
    return got;
  }

 private:
  ByteSource& source_;
  std::uint64_t length_;
  std::uint64_t left_;
};

// RFC 9112, 7.1. Chunk extensions and trailers are read and dropped, both bounded.
class ChunkedBody final : public Body {
 public:
  explicit ChunkedBody(ByteSource& source) : source_(source) {}
  std::optional<std::uint64_t> length() const override { return std::nullopt; }
  bool at_end() const override { return is_done_; }
  std::size_t read(char* to, std::size_t capacity) override;

 private:
  static constexpr std::size_t kLineSizeMax = 1024;
  static constexpr std::size_t kTrailersMax = 64;
  std::string line();
  void next_chunk();

  ByteSource& source_;
  std::uint64_t left_ = 0;
  bool in_chunk_ = false;
  bool is_done_ = false;
};

// How the head frames the body; `error` names what is wrong with it.
struct Framing {
  bool is_chunked = false;
  std::uint64_t length = 0;
  std::string error;
};
// `lengths`, `encodings`: the values of all Content-Length and Transfer-Encoding fields, joined by
// ','. Both at once, or two different lengths, are refused: that is how requests are smuggled.
Framing framing_of(std::string_view lengths, std::string_view encodings);

}  // namespace ephor::http_api
