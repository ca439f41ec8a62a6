// SPDX-License-Identifier: Apache-2.0
#include "websocket.hpp"

#include <Poco/Base64Decoder.h>
#include <Poco/Base64Encoder.h>
#include <Poco/Exception.h>
#include <Poco/SHA1Engine.h>

#include <iterator>
#include <sstream>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr std::size_t kControlSizeMax = 125;

bool is_control(Opcode opcode) { return (static_cast<std::uint8_t>(opcode) & 0x8) != 0; }

bool is_known(std::uint8_t opcode) { return opcode <= 0x2 || (opcode >= 0x8 && opcode <= 0xA); }

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = (value << 8) | static_cast<unsigned char>(byte);
  return value;
}

// Codes that may come over the wire (RFC 6455, 7.4).
bool is_close_code(std::uint64_t code) {
  return (code >= 1000 && code <= 1011 && code != 1004 && code != 1005 && code != 1006) ||
         (code >= 3000 && code <= 4999);
}

bool is_close_payload(std::string_view payload) {
  if (payload.empty()) return true;
  return payload.size() >= 2 && is_close_code(big_endian(payload.substr(0, 2))) &&
         is_utf8(payload.substr(2));
}

}  // namespace

bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return false;
    std::uint32_t point = lead & (0x7FU >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      if ((byte & 0xC0) != 0x80) return false;
      point = (point << 6) | (byte & 0x3FU);
    }
    const bool is_overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (is_overlong || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

std::string websocket_accept(std::string_view key) {
  Poco::SHA1Engine engine;
  engine.update(key.data(), key.size());
  constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  engine.update(kGuid.data(), kGuid.size());
  const auto& digest = engine.digest();
  std::ostringstream out;
  Poco::Base64Encoder encoder(out);
  encoder.write(reinterpret_cast<const char*>(digest.data()),
                static_cast<std::streamsize>(digest.size()));
  encoder.close();
  return out.str();
}

bool is_websocket_key(std::string_view key) {
  if (key.size() != 24) return false;
  try {
    std::istringstream in{std::string(key)};
    Poco::Base64Decoder decoder(in);
    const std::string bytes{std::istreambuf_iterator<char>(decoder), {}};
    return bytes.size() == 16;
  } catch (const Poco::Exception&) {
    return false;
  }
}

std::string encode_frame(Opcode opcode, std::string_view payload) {
  std::string frame;
  frame.reserve(payload.size() + 10);
  frame.push_back(static_cast<char>(0x80 | static_cast<std::uint8_t>(opcode)));
  const auto put = [&frame](std::uint64_t size, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
      frame.push_back(static_cast<char>((size >> shift) & 0xFF));
    }
  };
  if (payload.size() < 126) {
    put(payload.size(), 1);
  } else if (payload.size() <= 0xFFFF) {
    frame.push_back(126);
    put(payload.size(), 2);
  } else {
    frame.push_back(127);
    put(payload.size(), 8);
  }
  frame.append(payload);
  return frame;
}

std::string encode_close(std::uint16_t code, std::string_view reason) {
  std::string payload;
  payload.push_back(static_cast<char>(code >> 8));
  payload.push_back(static_cast<char>(code & 0xFF));
  payload.append(reason.substr(0, kControlSizeMax - 2));
  return encode_frame(Opcode::close, payload);
}

FrameParser::Step FrameParser::fail(std::uint16_t code) {
  error_ = code;
  return Step::broken;
}

FrameParser::Step FrameParser::deliver(Opcode opcode, bool is_final, std::string payload,
                                       std::vector<Message>& out) {
  if (is_control(opcode)) {
    if (opcode == Opcode::close && !is_close_payload(payload)) return fail(kCloseProtocolError);
    out.push_back({opcode, std::move(payload)});
    return Step::complete;
  }
  if ((opcode == Opcode::continuation) != in_message_) return fail(kCloseProtocolError);
  if (fragments_.size() + payload.size() > message_size_max_) return fail(kCloseTooBig);
  if (!in_message_) fragment_opcode_ = opcode;
  fragments_ += payload;
  in_message_ = !is_final;
  if (!is_final) return Step::complete;
  if (fragment_opcode_ == Opcode::text && !is_utf8(fragments_)) return fail(kCloseInvalidData);
  out.push_back({fragment_opcode_, std::exchange(fragments_, {})});
  return Step::complete;
}

FrameParser::Step FrameParser::take_frame(std::string_view& bytes, std::vector<Message>& out) {
  if (bytes.size() < 2) return Step::incomplete;
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  const auto second = static_cast<std::uint8_t>(bytes[1]);
  const auto opcode = static_cast<Opcode>(first & 0x0F);
  const bool is_final = (first & 0x80) != 0;
  // No extension was agreed, so reserved bits are zero; clients always mask.
  if ((first & 0x70) != 0 || !is_known(first & 0x0F) || (second & 0x80) == 0) {
    return fail(kCloseProtocolError);
  }
  std::uint64_t size = second & 0x7F;
  if (is_control(opcode) && (!is_final || size > kControlSizeMax)) return fail(kCloseProtocolError);
  const std::size_t length_bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
  const std::size_t header_size = 2 + length_bytes + 4;
  if (bytes.size() < header_size) return Step::incomplete;
  if (length_bytes > 0) size = big_endian(bytes.substr(2, length_bytes));
  if (size > message_size_max_ && !is_control(opcode)) return fail(kCloseTooBig);
  if (bytes.size() - header_size < size) return Step::incomplete;

  const std::string_view mask = bytes.substr(header_size - 4, 4);
  std::string payload(bytes.substr(header_size, size));
  for (std::size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  bytes.remove_prefix(header_size + size);
  return deliver(opcode, is_final, std::move(payload), out);
}

std::uint16_t FrameParser::feed(std::string_view bytes, std::vector<Message>& out) {
  if (error_ != 0) return error_;
  pending_.append(bytes);
  std::string_view rest = pending_;
  Step step = Step::complete;
  while (step == Step::complete && !rest.empty()) step = take_frame(rest, out);
  pending_.erase(0, pending_.size() - rest.size());
  return error_;
}

}  // namespace ephor::http_api
