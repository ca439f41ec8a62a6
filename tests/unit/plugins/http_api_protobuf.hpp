// SPDX-License-Identifier: Apache-2.0
//
// A decoder of protobuf's wire format for tests of answers: as small as it gets, and throws.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace http_api_test {

struct Field {
  int wire_type = 0;
  std::uint64_t number = 0;  // of a varint
  std::string bytes;         // of a length-delimited one
};

inline std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) throw std::runtime_error("a varint ends early");
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  throw std::runtime_error("a varint is too long");
}

// The last field of each number; other wire types than 0 and 2 are not expected.
inline std::map<unsigned, Field> fields_of(std::string_view bytes) {
  std::map<unsigned, Field> fields;
  while (!bytes.empty()) {
    const std::uint64_t key = take_varint(bytes);
    Field field;
    field.wire_type = static_cast<int>(key & 7U);
    if (field.wire_type == 0) {
      field.number = take_varint(bytes);
    } else if (field.wire_type == 2) {
      const std::uint64_t size = take_varint(bytes);
      if (size > bytes.size()) throw std::runtime_error("a field ends early");
      field.bytes = bytes.substr(0, size);
      bytes.remove_prefix(size);
    } else {
      throw std::runtime_error("an unexpected wire type");
    }
    fields[static_cast<unsigned>(key >> 3U)] = field;
  }
  return fields;
}

}  // namespace http_api_test
