// SPDX-License-Identifier: Apache-2.0
//
// XXH3, 128 bits, seed 0 (Yann Collet, github.com/Cyan4973/xxHash, doc/xxhash_spec.md), in plain
// C++17 without a library: what a program outside needs to name a trace as the host would name it.
// Slower than xxhash.h by an order of magnitude and meant for ids; who hashes a lot, takes
// <ephor/text_hash.hpp>. Standard library only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ephor::xxh3 {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

namespace detail {

constexpr std::uint64_t kPrime32_1 = 0x9E3779B1U;
constexpr std::uint64_t kPrime32_2 = 0x85EBCA77U;
constexpr std::uint64_t kPrime32_3 = 0xC2B2AE3DU;
constexpr std::uint64_t kPrime64_1 = 0x9E3779B185EBCA87ULL;
constexpr std::uint64_t kPrime64_2 = 0xC2B2AE3D27D4EB4FULL;
constexpr std::uint64_t kPrime64_3 = 0x165667B19E3779F9ULL;
constexpr std::uint64_t kPrime64_4 = 0x85EBCA77C2B2AE63ULL;
constexpr std::uint64_t kPrime64_5 = 0x27D4EB2F165667C5ULL;
constexpr std::uint64_t kPrimeMix1 = 0x165667919E3779F9ULL;
constexpr std::uint64_t kPrimeMix2 = 0x9FB21C651E98DF25ULL;

// The default secret: 192 bytes, as little-endian words.
constexpr std::array<std::uint64_t, 24> kSecret = {
    0xBE4BA423396CFEB8ULL, 0x1CAD21F72C81017CULL, 0xDB979083E96DD4DEULL, 0x1F67B3B7A4A44072ULL,
    0x78E5C0CC4EE679CBULL, 0x2172FFCC7DD05A82ULL, 0x8E2443F7744608B8ULL, 0x4C263A81E69035E0ULL,
    0xCB00C391BB52283CULL, 0xA32E531B8B65D088ULL, 0x4EF90DA297486471ULL, 0xD8ACDEA946EF1938ULL,
    0x3F349CE33F76FAA8ULL, 0x1D4F0BC7C7BBDCF9ULL, 0x3159B4CD4BE0518AULL, 0x647378D9C97E9FC8ULL,
    0xC3EBD33483ACC5EAULL, 0xEB6313FAFFA081C5ULL, 0x49DAF0B751DD0D17ULL, 0x9E68D429265516D3ULL,
    0xFCA1477D58BE162BULL, 0xCE31D07AD1B8F88FULL, 0x280416958F3ACB45ULL, 0x7E404BBBCAFBD7AFULL};
constexpr std::size_t kSecretBytes = 192;

// Little endian, at any address, on any machine.
inline std::uint64_t read(std::string_view text, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::uint64_t{static_cast<std::uint8_t>(text[at + i])} << (8 * i);
  }
  return value;
}
inline std::uint64_t read64(std::string_view text, std::size_t at) { return read(text, at, 8); }

inline std::uint64_t secret64(std::size_t at) {
  const std::size_t word = at / 8;
  const std::size_t shift = at % 8 * 8;
  return shift == 0 ? kSecret[word] : kSecret[word] >> shift | kSecret[word + 1] << (64 - shift);
}

inline std::uint32_t swap32(std::uint32_t value) {
  return value << 24 | (value & 0xFF00U) << 8 | (value >> 8 & 0xFF00U) | value >> 24;
}
inline std::uint64_t swap64(std::uint64_t value) {
  return std::uint64_t{swap32(static_cast<std::uint32_t>(value))} << 32 |
         swap32(static_cast<std::uint32_t>(value >> 32));
}
inline std::uint64_t low32(std::uint64_t value) { return value & 0xFFFFFFFFU; }

inline Hash128 multiply(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t low_low = low32(a) * low32(b);
  const std::uint64_t high_low = (a >> 32) * low32(b);
  const std::uint64_t low_high = low32(a) * (b >> 32);
  const std::uint64_t cross = (low_low >> 32) + low32(high_low) + low_high;
  return {cross << 32 | low32(low_low), (high_low >> 32) + (cross >> 32) + (a >> 32) * (b >> 32)};
}
inline std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) {
  const Hash128 product = multiply(a, b);
  return product.low ^ product.high;
}

inline std::uint64_t avalanche(std::uint64_t hash) {
  hash = (hash ^ hash >> 37) * kPrimeMix1;
  return hash ^ hash >> 32;
}
inline std::uint64_t avalanche_64(std::uint64_t hash) {  // that of XXH64
  hash = (hash ^ hash >> 33) * kPrime64_2;
  hash = (hash ^ hash >> 29) * kPrime64_3;
  return hash ^ hash >> 32;
}

inline std::uint64_t mix_16(std::string_view text, std::size_t at, std::size_t secret_at) {
  return multiply_fold(read64(text, at) ^ secret64(secret_at),
                       read64(text, at + 8) ^ secret64(secret_at + 8));
}
inline void mix_32(Hash128& sum, std::string_view text, std::size_t one, std::size_t other,
                   std::size_t secret_at) {
  sum.low += mix_16(text, one, secret_at);
  sum.low ^= read64(text, other) + read64(text, other + 8);
  sum.high += mix_16(text, other, secret_at + 16);
  sum.high ^= read64(text, one) + read64(text, one + 8);
}
inline Hash128 finish_mixed(Hash128 sum, std::size_t size) {
  const std::uint64_t low = sum.low + sum.high;
  const std::uint64_t high = sum.low * kPrime64_1 + sum.high * kPrime64_4 + size * kPrime64_2;
  return {avalanche(low), 0 - avalanche(high)};
}

inline Hash128 hash_to_3(std::string_view text) {
  const std::size_t size = text.size();
  const auto low = static_cast<std::uint32_t>(
      read(text, 0, 1) << 16 | read(text, size / 2, 1) << 24 | read(text, size - 1, 1) | size << 8);
  const std::uint32_t swapped = swap32(low);
  const std::uint32_t high = swapped << 13 | swapped >> 19;
  const std::uint64_t flip_low = low32(secret64(0)) ^ secret64(0) >> 32;
  const std::uint64_t flip_high = low32(secret64(8)) ^ secret64(8) >> 32;
  return {avalanche_64(low ^ flip_low), avalanche_64(high ^ flip_high)};
}

inline Hash128 hash_to_8(std::string_view text) {
  const std::size_t size = text.size();
  const std::uint64_t word = read(text, 0, 4) | read(text, size - 4, 4) << 32;
  Hash128 hash = multiply(word ^ secret64(16) ^ secret64(24), kPrime64_1 + (size << 2));
  hash.high += hash.low << 1;
  hash.low ^= hash.high >> 3;
  hash.low = (hash.low ^ hash.low >> 35) * kPrimeMix2;
  hash.low ^= hash.low >> 28;
  hash.high = avalanche(hash.high);
  return hash;
}

inline Hash128 hash_to_16(std::string_view text) {
  const std::size_t size = text.size();
  const std::uint64_t first = read64(text, 0);
  const std::uint64_t last = read64(text, size - 8);
  Hash128 hash = multiply(first ^ last ^ secret64(32) ^ secret64(40), kPrime64_1);
  hash.low += std::uint64_t{size - 1} << 54;
  const std::uint64_t high = last ^ secret64(48) ^ secret64(56);
  hash.high += high + low32(high) * (kPrime32_2 - 1);
  hash.low ^= swap64(hash.high);
  Hash128 out = multiply(hash.low, kPrime64_2);
  out.high += hash.high * kPrime64_2;
  return {avalanche(out.low), avalanche(out.high)};
}

inline Hash128 hash_to_128(std::string_view text) {
  const std::size_t size = text.size();
  Hash128 sum{size * kPrime64_1, 0};
  for (std::size_t i = (size - 1) / 32 + 1; i-- > 0;) {
    mix_32(sum, text, 16 * i, size - 16 * (i + 1), 32 * i);
  }
  return finish_mixed(sum, size);
}

inline Hash128 hash_to_240(std::string_view text) {
  const std::size_t size = text.size();
  Hash128 sum{size * kPrime64_1, 0};
  std::size_t at = 0;
  for (; at < 128; at += 32) mix_32(sum, text, at, at + 16, at);
  sum = {avalanche(sum.low), avalanche(sum.high)};
  for (; at + 32 <= size; at += 32) mix_32(sum, text, at, at + 16, at - 128 + 3);
  mix_32(sum, text, size - 16, size - 32, 136 - 17 - 16);
  return finish_mixed(sum, size);
}

using Lanes = std::array<std::uint64_t, 8>;

inline void accumulate(Lanes& lanes, std::string_view text, std::size_t at, std::size_t secret_at) {
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const std::uint64_t value = read64(text, at + 8 * i);
    const std::uint64_t keyed = value ^ secret64(secret_at + 8 * i);
    lanes[i ^ 1U] += value;
    lanes[i] += low32(keyed) * (keyed >> 32);
  }
}

inline std::uint64_t merge(const Lanes& lanes, std::size_t secret_at, std::uint64_t start) {
  for (std::size_t i = 0; i < lanes.size(); i += 2) {
    start += multiply_fold(lanes[i] ^ secret64(secret_at + 8 * i),
                           lanes[i + 1] ^ secret64(secret_at + 8 * i + 8));
  }
  return avalanche(start);
}

inline Hash128 hash_long(std::string_view text) {
  constexpr std::size_t kStripe = 64;
  constexpr std::size_t kBlockStripes = (kSecretBytes - kStripe) / 8;
  const std::size_t size = text.size();
  Lanes lanes = {kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3,
                 kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};
  const std::size_t stripes = (size - 1) / kStripe;
  for (std::size_t i = 0; i < stripes; ++i) {
    const std::size_t in_block = i % kBlockStripes;
    accumulate(lanes, text, i * kStripe, in_block * 8);
    // A block is whole only if something follows it.
    if (in_block + 1 != kBlockStripes) continue;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      std::uint64_t& value = lanes[lane];
      value = (value ^ value >> 47 ^ secret64(kSecretBytes - kStripe + 8 * lane)) * kPrime32_1;
    }
  }
  accumulate(lanes, text, size - kStripe, kSecretBytes - kStripe - 7);
  return {merge(lanes, 11, size * kPrime64_1),
          merge(lanes, kSecretBytes - kStripe - 11, ~(size * kPrime64_2))};
}

}  // namespace detail

// As XXH3_128bits(text.data(), text.size()). O(length), no allocation. Any thread.
inline Hash128 hash128(std::string_view text) {
  using namespace detail;
  if (text.empty()) {
    return {avalanche_64(secret64(64) ^ secret64(72)), avalanche_64(secret64(80) ^ secret64(88))};
  }
  if (text.size() <= 3) return hash_to_3(text);
  if (text.size() <= 8) return hash_to_8(text);
  if (text.size() <= 16) return hash_to_16(text);
  if (text.size() <= 128) return hash_to_128(text);
  if (text.size() <= 240) return hash_to_240(text);
  return hash_long(text);
}

}  // namespace ephor::xxh3
