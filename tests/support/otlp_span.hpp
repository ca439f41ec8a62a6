// SPDX-License-Identifier: Apache-2.0
//
// Writes opentelemetry.proto.trace.v1.Span, as far as tests and benches need it; the wire format by
// hand, apart from the code that reads it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ephor::testing {

class OtlpSpan {
 public:
  OtlpSpan& trace_id(std::string_view bytes) { return put_bytes(1, bytes); }
  OtlpSpan& span_id(std::string_view bytes) { return put_bytes(2, bytes); }
  OtlpSpan& parent_span_id(std::string_view bytes) { return put_bytes(4, bytes); }
  OtlpSpan& name(std::string_view text) { return put_bytes(5, text); }
  OtlpSpan& kind(std::uint64_t number) { return put_varint_field(6, number); }
  OtlpSpan& start_ns(std::int64_t ns) { return put_fixed64(7, static_cast<std::uint64_t>(ns)); }
  OtlpSpan& end_ns(std::int64_t ns) { return put_fixed64(8, static_cast<std::uint64_t>(ns)); }
  OtlpSpan& attribute(std::string_view name, std::string_view value) {
    return put_bytes(9, key_value(name, value));
  }
  // An event of this name with text attributes.
  OtlpSpan& exception(std::string_view type, std::string_view message, std::string_view stack) {
    OtlpSpan event;
    event.put_fixed64(1, 1);
    event.put_bytes(2, "exception");
    event.put_bytes(3, key_value("exception.type", type));
    event.put_bytes(3, key_value("exception.message", message));
    event.put_bytes(3, key_value("exception.stacktrace", stack));
    return put_bytes(11, event.bytes_);
  }
  OtlpSpan& error(std::string_view message) {
    OtlpSpan status;
    status.put_bytes(2, message);
    status.put_varint_field(3, 2);
    return put_bytes(15, status.bytes_);
  }
  const std::string& bytes() const { return bytes_; }

  // 16 or 8 bytes of their hexadecimal digits.
  static std::string from_hex(std::string_view digits) {
    std::string out;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
      out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
    }
    return out;
  }

 private:
  static std::string key_value(std::string_view name, std::string_view value) {
    OtlpSpan any;
    any.put_bytes(1, value);
    OtlpSpan pair;
    pair.put_bytes(1, name).put_bytes(2, any.bytes_);
    return pair.bytes_;
  }
  OtlpSpan& put_varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
    return *this;
  }
  OtlpSpan& put_varint_field(std::uint32_t field, std::uint64_t value) {
    return put_varint(field << 3).put_varint(value);
  }
  OtlpSpan& put_bytes(std::uint32_t field, std::string_view value) {
    put_varint(field << 3 | 2).put_varint(value.size());
    bytes_ += value;
    return *this;
  }
  OtlpSpan& put_fixed64(std::uint32_t field, std::uint64_t value) {
    put_varint(field << 3 | 1);
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(value >> 8 * i);
    return *this;
  }

  std::string bytes_;
};

}  // namespace ephor::testing
