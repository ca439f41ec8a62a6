// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace ephor::tracer {

// At most `bytes_max` bytes of UTF-8 text, cut between characters.
inline std::string_view cut_text(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

// The kind of a span that takes messages from a queue, in the spelling of any client.
inline bool is_consumer(std::string_view kind) {
  constexpr std::string_view kUpper = "CONSUMER";
  constexpr std::string_view kPrefix = "SPAN_KIND_";
  if (kind.substr(0, kPrefix.size()) == kPrefix) kind.remove_prefix(kPrefix.size());
  if (kind.size() != kUpper.size()) return false;
  for (std::size_t i = 0; i < kind.size(); ++i) {
    const char c = kind[i];
    if ((c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c) != kUpper[i]) return false;
  }
  return true;
}

}  // namespace ephor::tracer
