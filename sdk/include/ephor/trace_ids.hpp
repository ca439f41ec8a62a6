// SPDX-License-Identifier: Apache-2.0
//
// Ids of traces and spans: as bytes, as text, new ones, and those that stand for a foreign id.
// C++17, standard library only.
//
// Foreign ids. A correlation id such as "order-7f" is no W3C trace id. The host maps it by a stable
// hash (XXH3-128, big endian) wherever a record says it in the place of a trace id; trace_id_for()
// gives the same answer, so that a client which knows the correlation id alone, one that knows the
// trace id alone, and the records of an older client all name one trace. 32 hex digits are a trace
// id as they stand: so the hex text of a trace id is itself a correlation id for the same trace.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ephor/xxh3.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace ephor::propagation {

namespace detail {

inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace detail

// An id of `Size` bytes; all zero means none. A value: copies are cheap, no allocation but in
// hex().
template <std::size_t Size>
struct Id {
  std::array<std::uint8_t, Size> bytes{};

  bool is_valid() const {
    std::uint8_t any = 0;
    for (const std::uint8_t byte : bytes) any = static_cast<std::uint8_t>(any | byte);
    return any != 0;
  }
  // 2 * Size lower-case hex digits.
  std::string hex() const {
    std::string out;
    append_hex(out);
    return out;
  }
  void append_hex(std::string& out) const {
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (const std::uint8_t byte : bytes) {
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 15U];
    }
  }
  // Exactly 2 * Size lower-case hex digits, not all zero (W3C trace context); else nothing.
  static std::optional<Id> parse(std::string_view hex) {
    if (hex.size() != 2 * Size) return std::nullopt;
    Id id;
    for (std::size_t i = 0; i < Size; ++i) {
      const int high = detail::hex_digit(hex[2 * i]);
      const int low = detail::hex_digit(hex[2 * i + 1]);
      if (high < 0 || low < 0) return std::nullopt;
      id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    if (!id.is_valid()) return std::nullopt;
    return id;
  }

  friend bool operator==(const Id& one, const Id& other) { return one.bytes == other.bytes; }
  friend bool operator!=(const Id& one, const Id& other) { return !(one == other); }
};

using TraceId = Id<16>;
using SpanId = Id<8>;

// The trace that `id`, a correlation id or another client's trace id, stands for: 32 hex digits in
// any case are the trace id itself, all else is hashed. Always valid, the same in every process and
// version, and the same as the host's. O(length), no allocation for up to 32 bytes.
inline TraceId trace_id_for(std::string_view id) {
  if (id.size() == 32) {
    std::string digits(id);
    for (char& c : digits) c = detail::lower(c);
    if (const std::optional<TraceId> parsed = TraceId::parse(digits)) return *parsed;
  }
  const xxh3::Hash128 hash = xxh3::hash128(id);
  TraceId out;
  for (std::size_t i = 0; i < 8; ++i) {
    out.bytes[i] = static_cast<std::uint8_t>(hash.high >> (56 - 8 * i));
    out.bytes[8 + i] = static_cast<std::uint8_t>(hash.low >> (56 - 8 * i));
  }
  if (!out.is_valid()) out.bytes[15] = 1;
  return out;
}

// Random bits for ids: xoshiro256** (Blackman & Vigna 2018) with 256 bits of seed from
// std::random_device, which is the operating system's or the processor's source. Not for secrets.
// Not thread-safe; this_thread() gives each thread its own.
class IdGenerator {
 public:
  IdGenerator() { seed(); }

  // Never all zero. All bits are random, so the random flag may be set for a trace id.
  TraceId trace_id() { return make<TraceId>(); }
  SpanId span_id() { return make<SpanId>(); }
  std::uint64_t bits() {
    if (forks_ != fork_count().load(std::memory_order_relaxed)) seed();
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // The calling thread's. A child after fork() seeds anew, so it never repeats its parent's ids.
  static IdGenerator& this_thread() {
    thread_local IdGenerator generator;
    return generator;
  }

 private:
  static std::uint64_t rotate(std::uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
  }
  // How often this process is the child of a fork since the program was loaded.
  static std::atomic<unsigned>& fork_count() {
    static std::atomic<unsigned> count{0};
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(
        nullptr, nullptr, [] { fork_count().fetch_add(1, std::memory_order_relaxed); });
    static_cast<void>(registered);
#endif
    return count;
  }
  void seed() {
    forks_ = fork_count().load(std::memory_order_relaxed);
    std::random_device source;
    do {
      for (std::uint64_t& word : state_) {
        word = std::uint64_t{source()} << 32U | (source() & 0xFFFFFFFFU);
      }
    } while ((state_[0] | state_[1] | state_[2] | state_[3]) == 0);
  }
  template <class Any>
  Any make() {
    Any id;
    do {
      for (std::size_t at = 0; at < id.bytes.size(); at += 8) {
        std::uint64_t word = bits();
        for (std::size_t i = 0; i < 8; ++i, word >>= 8U) {
          id.bytes[at + i] = static_cast<std::uint8_t>(word);
        }
      }
    } while (!id.is_valid());
    return id;
  }

  std::array<std::uint64_t, 4> state_{};
  unsigned forks_ = 0;
};

}  // namespace ephor::propagation
