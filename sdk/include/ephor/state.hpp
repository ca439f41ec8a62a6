// SPDX-License-Identifier: Apache-2.0
//
// A plugin's saved state as compact bytes: little-endian fixed-width numbers, LEB128 varints and
// length-prefixed texts, read back with every length checked. The format names no fields: whoever
// changes what is written, or its order, raises kStateVersion.
//
//   void save(const Rows&, std::string& state) override {
//     StateWriter out(state);
//     out.varint(counts_.size());
//     for (const auto& [name, count] : counts_) out.text(name).u64(count);
//   }
//   bool load(std::uint32_t version, std::string_view state) override {
//     return version == kStateVersion && read_state(state, [&](StateReader& in) {
//              for (std::size_t left = in.count(9); left > 0; --left) {
//                std::string name = in.text();
//                counts_[std::move(name)] = in.u64();
//              }
//            });
//   }
#pragma once

#include <bit>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace ephor {

// Appends to the string it was given. Hash maps must be written in a sorted order where two saves
// of the same state have to be the same bytes.
class StateWriter {
 public:
  explicit StateWriter(std::string& out) : out_(out) {}

  StateWriter& u8(std::uint8_t value) {
    out_.push_back(static_cast<char>(value));
    return *this;
  }
  StateWriter& boolean(bool value) { return u8(value ? 1 : 0); }
  StateWriter& u32(std::uint32_t value) { return fixed(value); }
  StateWriter& u64(std::uint64_t value) { return fixed(value); }
  StateWriter& i64(std::int64_t value) { return fixed(static_cast<std::uint64_t>(value)); }
  // Every bit of the value is kept: NaN payloads and the sign of zero too.
  StateWriter& f64(double value) { return fixed(std::bit_cast<std::uint64_t>(value)); }
  StateWriter& optional_f64(const std::optional<double>& value) {
    boolean(value.has_value());
    return value ? f64(*value) : *this;
  }
  // 1 byte below 128, at most 10.
  StateWriter& varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
    return u8(static_cast<std::uint8_t>(value));
  }
  // Zigzag, so that small negative numbers are short too.
  StateWriter& signed_varint(std::int64_t value) {
    return varint((static_cast<std::uint64_t>(value) << 1) ^
                  static_cast<std::uint64_t>(value >> 63));
  }
  // A varint length, then the bytes.
  StateWriter& text(std::string_view value) {
    varint(value.size());
    out_.append(value);
    return *this;
  }
  StateWriter& bytes(std::string_view value) { return text(value); }
  // The bytes alone; the reader must know how many there are.
  StateWriter& raw(std::string_view value) {
    out_.append(value);
    return *this;
  }

 private:
  template <typename Unsigned>
  StateWriter& fixed(Unsigned value) {
    char encoded[sizeof value];
    for (char& byte : encoded) {
      byte = static_cast<char>(value & 0xFF);
      value = static_cast<Unsigned>(value >> 8);
    }
    out_.append(encoded, sizeof encoded);
    return *this;
  }

  std::string& out_;
};

// Reads what StateWriter wrote. Whatever does not fit throws Error(EPHOR_INVALID) that names the
// byte; nothing is read behind the end and nothing is allocated for a length that cannot be there.
class StateReader {
 public:
  explicit StateReader(std::string_view state) : state_(state) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(take(1)[0]); }
  bool boolean() {
    const std::uint8_t value = u8();
    if (value > 1) fail("found " + std::to_string(value) + ", expected 0 or 1");
    return value == 1;
  }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  std::int64_t i64() { return static_cast<std::int64_t>(fixed<std::uint64_t>()); }
  double f64() { return std::bit_cast<double>(fixed<std::uint64_t>()); }
  std::optional<double> optional_f64() {
    if (!boolean()) return std::nullopt;
    return f64();
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = u8();
      if (shift == 63 && byte > 1) break;
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("found a varint of more than 64 bits");
  }
  std::int64_t signed_varint() {
    const std::uint64_t value = varint();
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }
  // A count of elements that take at least `element_size_bytes` (>= 1) each. Refused if that many
  // cannot follow, so the caller may reserve it.
  std::size_t count(std::size_t element_size_bytes = 1) {
    const std::uint64_t value = varint();
    if (value > remaining() / (element_size_bytes == 0 ? 1 : element_size_bytes)) {
      fail("found a count of " + std::to_string(value) + ", but " + std::to_string(remaining()) +
           " bytes follow");
    }
    return static_cast<std::size_t>(value);
  }
  // Views into the state: copy what outlives it.
  std::string_view view() { return take(count()); }
  std::string text() { return std::string(view()); }
  std::string_view bytes() { return view(); }
  std::string_view raw(std::size_t size_bytes) { return take(size_bytes); }

  std::size_t remaining() const { return state_.size() - position_; }
  bool at_end() const { return remaining() == 0; }

 private:
  std::string_view take(std::size_t size_bytes) {
    if (size_bytes > remaining()) {
      fail("found " + std::to_string(remaining()) + " bytes, expected " +
           std::to_string(size_bytes));
    }
    const std::string_view taken = state_.substr(position_, size_bytes);
    position_ += size_bytes;
    return taken;
  }
  template <typename Unsigned>
  Unsigned fixed() {
    const std::string_view encoded = take(sizeof(Unsigned));
    Unsigned value = 0;
    for (std::size_t i = sizeof(Unsigned); i-- > 0;) {
      value = static_cast<Unsigned>(value << 8 | static_cast<std::uint8_t>(encoded[i]));
    }
    return value;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(EPHOR_INVALID, "state, byte " + std::to_string(position_) + " of " +
                                   std::to_string(state_.size()) + ": " + what);
  }

  std::string_view state_;
  std::size_t position_ = 0;
};

// Runs `body` on a reader of `state`. False if the state is unreadable or holds more than was read;
// what `body` has changed by then is the caller's to throw away.
template <typename Body>
bool read_state(std::string_view state, Body&& body) {
  StateReader in(state);
  try {
    body(in);
  } catch (const Error&) {
    return false;
  }
  return in.at_end();
}

}  // namespace ephor
