// SPDX-License-Identifier: Apache-2.0
#include <random>
#include <string>

#include "support/catch.hpp"
#include "websocket.hpp"

using namespace ephor::http_api;

namespace {

// A client's frame, written from RFC 6455 section 5.2 and independent of the code under test.
std::string client_frame(int opcode, std::string payload, bool is_final = true,
                         bool is_masked = true) {
  std::string frame;
  frame.push_back(static_cast<char>((is_final ? 0x80 : 0) | opcode));
  const int mask_bit = is_masked ? 0x80 : 0;
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(mask_bit | static_cast<int>(payload.size())));
  } else if (payload.size() < 65536) {
    frame.push_back(static_cast<char>(mask_bit | 126));
    frame.push_back(static_cast<char>(payload.size() / 256));
    frame.push_back(static_cast<char>(payload.size() % 256));
  } else {
    frame.push_back(static_cast<char>(mask_bit | 127));
    for (int i = 7; i >= 0; --i)
      frame.push_back(static_cast<char>((payload.size() >> (8 * i)) & 255));
  }
  if (!is_masked) return frame + payload;
  const unsigned char mask[4] = {0x37, 0xFA, 0x21, 0x3D};
  for (int i = 0; i < 4; ++i) frame.push_back(static_cast<char>(mask[i]));
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(static_cast<char>(static_cast<unsigned char>(payload[i]) ^ mask[i % 4]));
  }
  return frame;
}

std::uint16_t feed(std::string_view bytes, std::vector<Message>& out, std::size_t size_max = 1000) {
  FrameParser parser(size_max);
  return parser.feed(bytes, out);
}

}  // namespace

TEST_CASE("websocket: handshake of RFC 6455 section 1.3", "[unit][ws]") {
  CHECK(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(is_websocket_key("dGhlIHNhbXBsZSBub25jZQ=="));
  CHECK_FALSE(is_websocket_key("short"));
  CHECK_FALSE(is_websocket_key("!!!!!!!!!!!!!!!!!!!!!!!!"));
  CHECK_FALSE(is_websocket_key(""));
}

TEST_CASE("websocket: frames of RFC 6455 section 5.7", "[unit][ws]") {
  CHECK(encode_frame(Opcode::text, "Hello") == "\x81\x05Hello");
  std::vector<Message> out;
  CHECK(feed("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", out) == 0);
  REQUIRE(out.size() == 1);
  CHECK(out[0].payload == "Hello");
}

TEST_CASE("websocket: lengths are written in the shortest form", "[unit][ws]") {
  CHECK(encode_frame(Opcode::text, std::string(125, 'a')).size() == 125 + 2);
  CHECK(encode_frame(Opcode::text, std::string(126, 'a')).substr(1, 3) ==
        std::string("\x7e\x00\x7e", 3));
  CHECK(encode_frame(Opcode::text, std::string(65535, 'a')).size() == 65535 + 4);
  CHECK(encode_frame(Opcode::text, std::string(65536, 'a')).substr(1, 9) ==
        std::string("\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 9));
}

TEST_CASE("websocket: fragments with a ping between them", "[unit][ws]") {
  std::vector<Message> out;
  CHECK(feed(client_frame(1, "Hel", false) + client_frame(9, "p") + client_frame(0, "lo"), out) ==
        0);
  REQUIRE(out.size() == 2);
  CHECK(out[0].opcode == Opcode::ping);
  CHECK(out[0].payload == "p");
  CHECK(out[1].opcode == Opcode::text);
  CHECK(out[1].payload == "Hello");
}

TEST_CASE("websocket: any cut of the bytes gives the same messages", "[unit][ws]") {
  const std::string stream = client_frame(1, "one") +
                             client_frame(1, std::string(300, 'x'), false) + client_frame(10, "") +
                             client_frame(0, "end") + client_frame(2, std::string(70'000, 'b')) +
                             client_frame(8, "\x03\xe8");
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    FrameParser parser(100'000);
    std::vector<Message> out;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = std::min<std::size_t>(stream.size() - at, 1 + random() % 5000);
      REQUIRE(parser.feed(std::string_view(stream).substr(at, size), out) == 0);
      at += size;
    }
    REQUIRE(out.size() == 5);
    CHECK(out[0].payload == "one");
    CHECK(out[1].opcode == Opcode::pong);
    CHECK(out[2].payload == std::string(300, 'x') + "end");
    CHECK(out[3].payload.size() == 70'000);
    CHECK(out[4].opcode == Opcode::close);
  }
}

TEST_CASE("websocket: broken rules have their close codes", "[unit][ws]") {
  std::vector<Message> out;
  CHECK(feed(client_frame(1, "a", true, false), out) == kCloseProtocolError);  // not masked
  CHECK(feed(client_frame(3, ""), out) == kCloseProtocolError);                // unknown opcode
  CHECK(feed(client_frame(0, "a"), out) == kCloseProtocolError);  // continuation of nothing
  CHECK(feed(client_frame(1, "a", false) + client_frame(1, "b"), out) == kCloseProtocolError);
  CHECK(feed(client_frame(9, std::string(126, 'p')), out) == kCloseProtocolError);
  CHECK(feed(client_frame(9, "p", false), out) == kCloseProtocolError);
  CHECK(feed("\xC1\x80", out) == kCloseProtocolError);                   // reserved bit
  CHECK(feed(client_frame(8, "\x03"), out) == kCloseProtocolError);      // half a close code
  CHECK(feed(client_frame(8, "\x03\xed"), out) == kCloseProtocolError);  // 1005 must not be sent
  CHECK(feed(client_frame(1, "\xff\xfe"), out) == kCloseInvalidData);
  CHECK(feed(client_frame(1, std::string(1001, 'a')), out) == kCloseTooBig);
  CHECK(feed(client_frame(1, std::string(600, 'a'), false) + client_frame(0, std::string(600, 'a')),
             out) == kCloseTooBig);
  // A length of 2^63 is refused before anything is allocated.
  CHECK(feed(std::string("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", 14), out) == kCloseTooBig);
  CHECK(out.empty());
}

TEST_CASE("websocket: random bytes never do harm", "[unit][ws]") {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes(random() % 200, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    std::vector<Message> out;
    FrameParser parser(500);
    parser.feed(bytes, out);
    for (const Message& message : out) CHECK(message.payload.size() <= 500);
  }
}

TEST_CASE("websocket: UTF-8 is checked as Unicode has it", "[unit][ws]") {
  CHECK(is_utf8("plain"));
  CHECK(is_utf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  CHECK_FALSE(is_utf8("\xC0\xAF"));          // overlong
  CHECK_FALSE(is_utf8("\xED\xA0\x80"));      // surrogate
  CHECK_FALSE(is_utf8("\xF4\x90\x80\x80"));  // beyond U+10FFFF
  CHECK_FALSE(is_utf8("\xE2\x82"));          // cut
}
