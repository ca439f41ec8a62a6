// SPDX-License-Identifier: Apache-2.0
//
// Stable 64-bit hashes of ids: XXH3, seed 0, as the host's ephor_event.correlation (but that is 0
// for no text at all). They are stored, so they never change. Needs xxhash.h 0.8 or later when
// compiling, no library when linking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

namespace ephor {

// O(length). Any thread.
inline std::uint64_t hash64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

// For maps with std::string keys that are asked with views:
// std::unordered_map<std::string, Value, TextHash, std::equal_to<>>.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash64(text); }
};

}  // namespace ephor
