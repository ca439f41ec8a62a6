// SPDX-License-Identifier: Apache-2.0
//
// What http_api reads by itself. The first byte chooses: frames of a WebSocket as bytes, frames
// made here of the input, the target of a request, a gzip body, a zstd body.
#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "fuzz.hpp"
#include "inflate.hpp"
#include "target.hpp"
#include "websocket.hpp"

namespace {

using namespace ephor::http_api;
using ephor::fuzz::Input;

constexpr std::size_t kMessageBytesMax = 2048;
constexpr std::size_t kInflatedBytesMax = 1U << 20;
constexpr std::size_t kControlBytesMax = 125;  // RFC 6455, 5.5

struct Heard {
  std::uint16_t code = 0;
  std::vector<Message> messages;
};

// `piece` bytes at a time, as they may come from a socket.
Heard heard(std::string_view bytes, std::size_t piece) {
  FrameParser parser(kMessageBytesMax);
  Heard out;
  while (!bytes.empty() && out.code == 0) {
    out.code = parser.feed(bytes.substr(0, piece), out.messages);
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return out;
}

void check_same(const Heard& one, const Heard& other) {
  EPHOR_PROMISE(one.code == other.code, "the pieces do not matter for the verdict");
  EPHOR_PROMISE(one.messages.size() == other.messages.size(), "nor for the number of messages");
  for (std::size_t i = 0; i < one.messages.size(); ++i) {
    EPHOR_PROMISE(one.messages[i].opcode == other.messages[i].opcode &&
                      one.messages[i].payload == other.messages[i].payload,
                  "nor for a message");
  }
}

void hear_bytes(std::string_view bytes) {
  const Heard whole = heard(bytes, bytes.size() + 1);
  for (const Message& message : whole.messages) {
    const bool is_data = message.opcode == Opcode::text || message.opcode == Opcode::binary;
    EPHOR_PROMISE(message.payload.size() <= (is_data ? kMessageBytesMax : kControlBytesMax),
                  "a message has its bound");
    EPHOR_PROMISE(message.opcode != Opcode::text || is_utf8(message.payload), "text is UTF-8");
  }
  check_same(whole, heard(bytes, 1));
  check_same(whole, heard(bytes, 7));
}

std::string client_frame(std::uint8_t opcode, bool is_final, std::string_view payload,
                         std::uint32_t mask) {
  std::string out;
  out += static_cast<char>((is_final ? 0x80 : 0) | opcode);
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8U);
    out += static_cast<char>(payload.size());
  }
  std::uint8_t key[4];
  for (int i = 0; i < 4; ++i) {
    key[i] = static_cast<std::uint8_t>(mask >> (8 * i));
    out += static_cast<char>(key[i]);
  }
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(static_cast<std::uint8_t>(payload[i]) ^ key[i % 4]);
  }
  return out;
}

// Binary messages in fragments, with pings between them: what goes in comes out.
void hear_made(Input& input) {
  std::string bytes;
  std::vector<Message> pings;
  std::vector<std::string> sent;
  for (int i = 0; i < 8 && !input.is_used_up(); ++i) {
    const std::uint64_t fragments = 1 + input.number(1) % 4;
    const auto mask = static_cast<std::uint32_t>(input.number(4));
    sent.emplace_back();
    for (std::uint64_t part = 0; part < fragments; ++part) {
      const std::string_view payload = input.text(input.number(1));
      sent.back() += payload;
      bytes += client_frame(part == 0 ? 2 : 0, part + 1 == fragments, payload, mask);
      if (part + 1 < fragments) bytes += client_frame(9, true, payload.substr(0, 125), ~mask);
    }
  }
  const Heard out = heard(bytes, 1 + input.number(1));
  EPHOR_PROMISE(out.code == 0, "good frames are taken");
  std::vector<std::string> received;
  for (const Message& message : out.messages) {
    if (message.opcode == Opcode::binary) received.push_back(message.payload);
  }
  EPHOR_PROMISE(received == sent, "a message arrives as it was sent");
}

std::string escaped(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char letter : text) {
    out += '%';
    out += kDigits[static_cast<std::uint8_t>(letter) >> 4U];
    out += kDigits[static_cast<std::uint8_t>(letter) & 15U];
  }
  return out;
}

void read_target(std::string_view raw) {
  const std::optional<Target> target = parse_target(raw);
  if (!target) return;
  std::string written;
  for (const std::string& segment : target->segments) {
    EPHOR_PROMISE(!segment.empty(), "a segment has text");
    written += "/" + escaped(segment);
  }
  if (written.empty()) written = "/";
  char separator = '?';
  for (const auto& [name, value] : target->query) {
    written += separator + escaped(name) + "=" + escaped(value);
    separator = '&';
    EPHOR_PROMISE(find_parameter(target->query, name).size() <= raw.size(),
                  "a value is of the text");
  }
  const std::optional<Target> again = parse_target(written);
  EPHOR_PROMISE(again && again->segments == target->segments && again->query == target->query,
                "a target that is written again reads the same");
}

// Gives what is asked for and no byte more, so that an overrun is seen.
class ExactMemory final : public GrowingMemory {
 public:
  std::span<char> grow(std::size_t size_used, std::size_t size_wanted) override {
    EPHOR_PROMISE(size_wanted <= kInflatedBytesMax, "no more than the cap is asked for");
    EPHOR_PROMISE(size_used <= bytes_.size(), "no more is kept than there was");
    std::vector<char> larger(size_wanted);
    std::copy_n(bytes_.begin(), std::min(size_used, size_wanted), larger.begin());
    bytes_ = std::move(larger);
    return bytes_;
  }
  std::string text(std::size_t size) const { return {bytes_.data(), size}; }

 private:
  std::vector<char> bytes_;
};

void inflate(std::string_view body, bool is_gzip) {
  ExactMemory memory;
  std::size_t size = 0;
  const Inflated result = is_gzip ? inflate_gzip(body, kInflatedBytesMax, memory, size)
                                  : inflate_zstd(body, kInflatedBytesMax, memory, size);
  if (result != Inflated::ok) return;
  EPHOR_PROMISE(size <= kInflatedBytesMax, "the cap holds");
  const std::string text = memory.text(size);
  const std::string packed = deflate_gzip(text);
  EPHOR_PROMISE(!packed.empty(), "what was inflated can be packed");
  ExactMemory second;
  std::size_t second_size = 0;
  EPHOR_PROMISE(inflate_gzip(packed, kInflatedBytesMax, second, second_size) == Inflated::ok &&
                    second.text(second_size) == text,
                "and comes back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  switch (input.number(1) % 5) {
    case 0:
      hear_bytes(input.rest());
      break;
    case 1:
      hear_made(input);
      break;
    case 2:
      read_target(input.rest());
      break;
    case 3:
      inflate(input.rest(), true);
      break;
    default:
      inflate(input.rest(), false);
      break;
  }
  return 0;
}
