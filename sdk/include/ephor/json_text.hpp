// SPDX-License-Identifier: Apache-2.0
//
// JSON written by hand, for rows, of which there are many; answers use ephor/json.hpp.
#pragma once

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>

namespace ephor {

// Appends `text` (UTF-8) as a JSON string.
inline void append_json_text(std::string& out, std::string_view text) {
  static constexpr std::string_view kHexDigits = "0123456789abcdef";
  out += '"';
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (c != '"' && c != '\\' && byte >= 0x20) continue;
    out.append(text, done, at - done);
    done = at + 1;
    if (byte >= 0x20) {
      (out += '\\') += c;
    } else {
      out += "\\u00";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 0xF];
    }
  }
  out.append(text, done);
  out += '"';
}

// Appends a number, which must be finite, in the shortest form that reads back the same.
template <typename Number>
void append_json_number(std::string& out, Number value) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

}  // namespace ephor
