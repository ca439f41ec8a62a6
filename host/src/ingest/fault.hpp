// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

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

// ephor_error.json_pointer holds 256 bytes, its last one NUL.
inline constexpr std::size_t kJsonPointerBytesMax = 255;

}  // namespace ephor::host
