// SPDX-License-Identifier: Apache-2.0
//
// The stable hashes of the log: XXH3 (xxHash 0.8, seed 0). They are stored, so they never change.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ephor::host {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

inline std::uint64_t hash64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

inline Hash128 hash128(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

// What kind of id a join key is. Stored: numbers are never used again.
enum class JoinKind : std::uint64_t {
  correlation = 1,
  trace = 2,
  decision = 3,
  execution = 4,
  order = 5,
  trade = 6,
  attribute = 7,
};

// Key of the journal's index. For correlation ids `id_hash` is ephor_event.correlation, for the
// other kinds hash64() of the id's text (of a trace id: its 32 lower-case hex digits).
inline std::uint64_t join_key(JoinKind kind, std::uint64_t id_hash) {
  return id_hash ^ (static_cast<std::uint64_t>(kind) * 0x9E3779B97F4A7C15ULL);
}

// Identity of an event for deduplication: CloudEvents (source, id).
inline Hash128 identity_hash(const Hash128& by_source, std::string_view id) {
  const XXH128_hash_t hash =
      XXH3_128bits_withSeed(id.data(), id.size(), by_source.low ^ (by_source.high << 1));
  return {hash.low64, hash.high64};
}
inline Hash128 identity_hash(std::string_view source, std::string_view id) {
  return identity_hash(hash128(source), id);
}

}  // namespace ephor::host
