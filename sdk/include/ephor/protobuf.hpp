// SPDX-License-Identifier: Apache-2.0
//
// Reading protobuf without its library: one pass over the wire format
// (https://protobuf.dev/programming-guides/encoding), every length checked against the message
// before it is believed. Nothing is copied or allocated; views point into the message.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ephor {

enum class WireType : std::uint8_t {
  varint = 0,
  fixed64 = 1,
  bytes = 2,  // text, bytes, a message, packed numbers
  group = 3,  // of proto2; bytes() is what lies between its tags
  fixed32 = 5,
};

// The fields of one message, in the order in which they were written:
//   ProtoReader in(message);
//   while (in.next()) {
//     if (in.is(1, WireType::bytes)) name = in.bytes();
//   }
//   if (!in.ok()) ...   // damaged: error() says how, what came before was sound
// A field that nobody asks for is skipped by the next next(). About 3 ns a field.
class ProtoReader {
 public:
  ProtoReader() = default;
  explicit ProtoReader(std::string_view message)
      : begin_(message.data()), at_(message.data()), end_(message.data() + message.size()) {}

  // Reads the next field, tag and value. False at the end and at damage.
  bool next() {
    if (at_ == end_ || error_ != nullptr) return false;
    field_at_ = at_;
    // Nearly every field: a number below 16, a length below 128.
    const auto first = static_cast<std::uint8_t>(*at_);
    if ((first & 0x87U) == 2 && first >= 8 && end_ - at_ >= 2) {
      const auto size = static_cast<std::uint8_t>(at_[1]);
      if (size < 0x80 && size <= end_ - at_ - 2) {
        field_ = first >> 3;
        type_ = WireType::bytes;
        bytes_ = {at_ + 2, size};
        at_ += 2 + size;
        return true;
      }
    }
    std::uint64_t tag = 0;
    if (!read_varint(tag)) return false;
    if (!is_tag(tag, field_at_)) return fail("a tag that is none");
    field_ = static_cast<std::uint32_t>(tag >> 3);
    return read_value(static_cast<std::uint32_t>(tag & 7));
  }

  std::uint32_t field() const { return field_; }  // its number
  WireType type() const { return type_; }
  bool is(std::uint32_t field, WireType type) const { return field_ == field && type_ == type; }

  // The value of the field read last, by its type().
  std::uint64_t varint() const { return number_; }
  std::uint64_t fixed64() const { return number_; }
  std::uint32_t fixed32() const { return static_cast<std::uint32_t>(number_); }
  double number() const { return std::bit_cast<double>(number_); }  // a fixed64
  std::string_view bytes() const { return bytes_; }
  // The whole field, its tag included.
  std::string_view raw() const { return {field_at_, static_cast<std::size_t>(at_ - field_at_)}; }

  bool ok() const { return error_ == nullptr; }
  // What was found; empty while ok().
  std::string_view error() const { return error_ == nullptr ? std::string_view() : error_; }
  // Bytes read so far; at damage, where the damaged field begins.
  std::size_t offset() const {
    return static_cast<std::size_t>((error_ == nullptr ? at_ : field_at_) - begin_);
  }

 private:
  static constexpr int kGroupDepthMax = 32;

  bool fail(const char* what) {
    error_ = what;
    return false;
  }

  // A tag is a varint of at most five bytes, of which 32 bits count, as in protoc's code.
  bool is_tag(std::uint64_t& tag, const char* begin) const {
    tag &= UINT32_MAX;
    return at_ - begin <= 5 && (tag >> 3) != 0;
  }

  bool read_varint(std::uint64_t& value) {
    if (at_ != end_ && static_cast<std::uint8_t>(*at_) < 0x80) {
      value = static_cast<std::uint8_t>(*at_++);
      return true;
    }
    value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) return fail("the end inside a varint");
      const auto byte = static_cast<std::uint8_t>(*at_++);
      value |= std::uint64_t{byte & 0x7FU} << (shift & 63U);
      if (byte < 0x80) return true;
    }
    return fail("a varint of more than ten bytes");
  }

  template <typename Number>
  bool read_fixed() {
    Number value = 0;
    if (static_cast<std::size_t>(end_ - at_) < sizeof value) {
      return fail("the end inside a fixed number");
    }
    for (std::size_t i = 0; i < sizeof value; ++i) {
      value |= static_cast<Number>(static_cast<std::uint8_t>(at_[i])) << (8 * i);
    }
    at_ += sizeof value;
    number_ = value;
    return true;
  }

  bool read_value(std::uint32_t wire_type) {
    switch (wire_type) {
      case 0:
        type_ = WireType::varint;
        return read_varint(number_);
      case 1:
        type_ = WireType::fixed64;
        return read_fixed<std::uint64_t>();
      case 2: {
        type_ = WireType::bytes;
        std::uint64_t size = 0;
        if (!read_varint(size)) return false;
        if (size > static_cast<std::uint64_t>(end_ - at_)) {
          return fail("a length that reaches beyond the end");
        }
        bytes_ = {at_, static_cast<std::size_t>(size)};
        at_ += size;
        return true;
      }
      case 3:
        type_ = WireType::group;
        return read_group();
      case 5:
        type_ = WireType::fixed32;
        return read_fixed<std::uint32_t>();
      case 4:
        return fail("the end of a group that did not begin");
      default:
        return fail("a wire type that is none");
    }
  }

  // Skips to the matching end; groups inside are counted with a small stack.
  bool read_group() {
    std::uint32_t open[kGroupDepthMax];
    int depth = 0;
    open[depth++] = field_;
    const char* const content = at_;
    const std::uint32_t group = field_;
    while (depth > 0) {
      const char* const tag_at = at_;
      std::uint64_t tag = 0;
      if (!read_varint(tag)) return false;
      if (!is_tag(tag, tag_at)) return fail("a tag that is none");
      const auto number = static_cast<std::uint32_t>(tag >> 3);
      if ((tag & 7) == 4) {
        if (number != open[--depth]) return fail("the end of another group");
        if (depth == 0) bytes_ = {content, static_cast<std::size_t>(tag_at - content)};
      } else if ((tag & 7) == 3) {
        if (depth == kGroupDepthMax) return fail("groups too deep");
        open[depth++] = number;
      } else if (!read_value(static_cast<std::uint32_t>(tag & 7))) {
        return false;
      }
    }
    type_ = WireType::group;
    field_ = group;
    return true;
  }

  const char* begin_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* field_at_ = nullptr;
  const char* error_ = nullptr;
  std::uint64_t number_ = 0;
  std::string_view bytes_;
  std::uint32_t field_ = 0;
  WireType type_ = WireType::varint;
};

}  // namespace ephor
