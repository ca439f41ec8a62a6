// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ephor::host {

// Writes protobuf's wire format at the end of a text. Fields come out in the order of the calls.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string& out) : out_(out) {}

  void varint(std::uint32_t field, std::uint64_t value) {
    put(std::uint64_t{field} << 3);
    put(value);
  }
  void fixed64(std::uint32_t field, std::uint64_t value) {
    put(std::uint64_t{field} << 3 | 1);
    put_fixed(value, 8);
  }
  void fixed32(std::uint32_t field, std::uint32_t value) {
    put(std::uint64_t{field} << 3 | 5);
    put_fixed(value, 4);
  }
  void bytes(std::uint32_t field, std::string_view value) {
    put(std::uint64_t{field} << 3 | 2);
    put(value.size());
    out_ += value;
  }
  // Whatever is written until end() with what this returned is one message (or bytes).
  std::size_t begin(std::uint32_t field) {
    put(std::uint64_t{field} << 3 | 2);
    out_ += '\0';
    return out_.size();
  }
  // Most messages are short: their length fits the byte that was left for it.
  void end(std::size_t began) {
    const std::size_t size = out_.size() - began;
    if (size < 0x80) {
      out_[began - 1] = static_cast<char>(size);
      return;
    }
    std::string length;
    ProtoWriter(length).put(size);
    out_.replace(began - 1, 1, length);
  }
  void append(std::string_view bytes) { out_ += bytes; }

 private:
  void put(std::uint64_t value) {
    if (value < 0x80) {
      out_ += static_cast<char>(value);
      return;
    }
    char bytes[10];
    std::size_t size = 0;
    while (value >= 0x80) {
      bytes[size++] = static_cast<char>((value & 0x7F) | 0x80);
      value >>= 7;
    }
    bytes[size++] = static_cast<char>(value);
    out_.append(bytes, size);
  }
  void put_fixed(std::uint64_t value, std::size_t size) {
    char bytes[8];
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(value >> (8 * i) & 0xFF);
    out_.append(bytes, size);
  }

  std::string& out_;
};

}  // namespace ephor::host
