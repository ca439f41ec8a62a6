// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ephor::host {

// Why a record is not taken.
struct Fault {
  std::string json_pointer;  // RFC 6901, into the record as it arrived; empty: the whole record
  std::string reason;        // found what, expected what
};

struct Rejection {
  std::uint32_t line = 0;  // from 1; in an array the element
  std::string json_pointer;
  std::string reason;
};

// Says why; always false.
inline bool refuse(Fault& fault, std::string_view pointer, std::string reason) {
  fault.json_pointer = pointer;
  fault.reason = std::move(reason);
  return false;
}
// Puts the place in front of what a deeper level said; always false.
inline bool below(Fault& fault, std::string_view name) {
  std::string pointer("/");
  pointer += name;
  pointer += fault.json_pointer;
  fault.json_pointer = std::move(pointer);
  return false;
}
inline bool below(Fault& fault, std::string_view name, std::uint32_t index) {
  below(fault, std::to_string(index));
  return below(fault, name);
}

// ephor_error.json_pointer holds 256 bytes, its last one NUL.
inline constexpr std::size_t kJsonPointerBytesMax = 255;

}  // namespace ephor::host
