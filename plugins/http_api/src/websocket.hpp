// SPDX-License-Identifier: Apache-2.0
//
// The WebSocket protocol of RFC 6455, server side, without sockets: handshake key, frames out,
// client frames in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::http_api {

enum class Opcode : std::uint8_t {
  continuation = 0x0,
  text = 0x1,
  binary = 0x2,
  close = 0x8,
  ping = 0x9,
  pong = 0xA,
};

inline constexpr std::uint16_t kCloseNormal = 1000;
inline constexpr std::uint16_t kCloseGoingAway = 1001;
inline constexpr std::uint16_t kCloseProtocolError = 1002;
inline constexpr std::uint16_t kCloseUnsupportedData = 1003;
inline constexpr std::uint16_t kCloseInvalidData = 1007;
inline constexpr std::uint16_t kClosePolicy = 1008;
inline constexpr std::uint16_t kCloseTooBig = 1009;

// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);
// The key is the base64 of 16 bytes.
bool is_websocket_key(std::string_view key);

// One whole unmasked frame.
std::string encode_frame(Opcode opcode, std::string_view payload);
std::string encode_close(std::uint16_t code, std::string_view reason);

struct Message {
  Opcode opcode = Opcode::text;  // text, binary, close, ping, pong
  std::string payload;
};

// Puts client frames together. Control frames may come between the fragments of a message.
class FrameParser {
 public:
  explicit FrameParser(std::size_t message_size_max) : message_size_max_(message_size_max) {}

  // Appends the messages that `bytes` completes. 0, or the close code of a broken rule; after one
  // the parser takes nothing more.
  std::uint16_t feed(std::string_view bytes, std::vector<Message>& out);

 private:
  enum class Step { complete, incomplete, broken };
  Step take_frame(std::string_view& bytes, std::vector<Message>& out);
  Step fail(std::uint16_t code);
  Step deliver(Opcode opcode, bool is_final, std::string payload, std::vector<Message>& out);

  std::size_t message_size_max_;
  std::string pending_;    // bytes of an incomplete frame
  std::string fragments_;  // payload of an incomplete message
  Opcode fragment_opcode_ = Opcode::text;
  bool in_message_ = false;
  std::uint16_t error_ = 0;
};

bool is_utf8(std::string_view text);

}  // namespace ephor::http_api
