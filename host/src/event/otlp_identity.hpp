// SPDX-License-Identifier: Apache-2.0
//
// The deduplication id of an OTLP span: CloudEvents (source, id), whose id is the span's ids. The
// door makes it, and the journal, which does not store what it can make again. Stored by what is
// left out, so neither this nor otlp::event_source_of may change.
#pragma once

#include <ephor/otlp.hpp>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "event/hash.hpp"

namespace ephor::host {

// Of the source's text, which is parsed: keep the answer. Throws nothing but for lack of memory.
inline Hash128 otlp_source_identity(std::string_view source) {
  return hash128(otlp::facts_of(source).event_source);
}

// The same from the thread's memory: parsing a source costs more than all else about a span. Valid
// until the next call.
inline const Hash128& known_source_identity(std::string_view source) {
  struct Known {
    std::string text;
    Hash128 identity;
    bool is_used = false;
  };
  thread_local std::array<Known, 64> known;  // direct-mapped
  Known& entry = known[hash64(source) % known.size()];
  if (!entry.is_used || entry.text != source) {
    entry.identity = otlp_source_identity(source);
    entry.text = source;
    entry.is_used = true;
  }
  return entry.identity;
}

// `trace_id`: 16 bytes, `span_id`: 8. About 30 ns.
inline Hash128 otlp_span_identity(const Hash128& source_identity, const char* trace_id,
                                  const char* span_id) {
  static constexpr auto kPairs = [] {
    constexpr char kDigits[] = "0123456789abcdef";
    std::array<char, 512> pairs{};
    for (std::size_t byte = 0; byte < 256; ++byte) {
      pairs[2 * byte] = kDigits[byte >> 4U];
      pairs[2 * byte + 1] = kDigits[byte & 15U];
    }
    return pairs;
  }();
  char text[32 + 1 + 16];
  const auto put = [&](std::size_t at, const char* bytes, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      std::memcpy(text + at + 2 * i, &kPairs[2 * static_cast<unsigned char>(bytes[i])], 2);
    }
  };
  put(0, trace_id, 16);
  text[32] = '-';
  put(33, span_id, 8);
  return identity_hash(source_identity, {text, sizeof text});
}

}  // namespace ephor::host
