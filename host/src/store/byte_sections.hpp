// SPDX-License-Identifier: Apache-2.0
//
// Writing and reading the parts of a body: varints are LEB128; nothing read is believed.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ephor::host {

// Differences wrap around: any two times can follow each other.
constexpr std::uint64_t zigzag(std::uint64_t difference) {
  return (difference << 1U) ^ (0 - (difference >> 63U));
}
constexpr std::uint64_t unzigzag(std::uint64_t coded) { return (coded >> 1U) ^ (0 - (coded & 1U)); }

inline char* put_varint(char* out, std::uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>((value & 0x7F) | 0x80);
    value >>= 7U;
  }
  *out++ = static_cast<char>(value);
  return out;
}
inline void append_varint(std::string& out, std::uint64_t value) {
  char bytes[10];
  out.append(bytes, static_cast<std::size_t>(put_varint(bytes, value) - bytes));
}
constexpr std::size_t varint_size(std::uint64_t value) {
  return value < 0x80 ? 1 : (static_cast<std::size_t>(std::bit_width(value)) + 6) / 7;
}

// Of few bytes mostly, for which a call costs more than the comparison.
inline bool is_equal(const char* a, const char* b, std::size_t size) {
  const auto differ = [&]<typename Word>(std::size_t at, Word) {
    Word x, y;
    std::memcpy(&x, a + at, sizeof x);
    std::memcpy(&y, b + at, sizeof y);
    return x != y;
  };
  if (size >= 8) {
    for (std::size_t at = 0; at + 8 < size; at += 8) {
      if (differ(at, std::uint64_t{})) return false;
    }
    return !differ(size - 8, std::uint64_t{});
  }
  if (size >= 4) return !differ(0, std::uint32_t{}) && !differ(size - 4, std::uint32_t{});
  for (std::size_t at = 0; at < size; ++at) {
    if (a[at] != b[at]) return false;
  }
  return true;
}

// Throws std::runtime_error that names `what` where it ends too early.
class ByteReader {
 public:
  ByteReader() = default;
  ByteReader(std::string_view bytes, const char* what) : bytes_(bytes), what_(what) {}

  std::uint8_t u8() {
    if (at_ >= bytes_.size()) throw_end();
    return static_cast<std::uint8_t>(bytes_[at_++]);
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = u8();
      value |= (byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    throw std::runtime_error("a varint longer than 64 bits at byte " + std::to_string(at_));
  }
  std::string_view bytes(std::uint64_t size) {
    if (size > left()) throw_end();
    const std::string_view out = bytes_.substr(at_, static_cast<std::size_t>(size));
    at_ += out.size();
    return out;
  }
  std::size_t left() const { return bytes_.size() - at_; }
  std::size_t offset() const { return at_; }

 private:
  [[noreturn]] void throw_end() const {
    throw std::runtime_error(std::string(what_) + " in the middle of a record");
  }

  std::string_view bytes_;
  const char* what_ = "a part ends";
  std::size_t at_ = 0;
};

// The parts of a codec 3 body. Bytes of a kind lie together, because each part becomes zstd blocks
// with tables of their own.
template <typename Part>
struct Sections {
  Part head;     // forms, modes, dictionaries' sizes
  Part numbers;  // planes and indices
  Part texts;
  Part random;  // ids
};
using SectionWriter = Sections<std::string>;
using SectionReader = Sections<ByteReader>;

}  // namespace ephor::host
