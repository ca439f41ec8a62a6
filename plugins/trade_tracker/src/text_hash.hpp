// SPDX-License-Identifier: Apache-2.0
//
// Stable 64-bit hashes of ids (XXH3, seed 0). They are stored, so they never change.
#pragma once

#include <cstdint>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ephor::trade_tracker {

inline std::uint64_t hash64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

// For maps with std::string keys that are asked with views.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash64(text); }
};

}  // namespace ephor::trade_tracker
