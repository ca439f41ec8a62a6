// SPDX-License-Identifier: Apache-2.0
//
// Exact distinct counting: which ids were ever seen. 64-bit hashes (<ephor/text_hash.hpp>) in order
// of arrival under an open-addressing index, about 16 bytes an id. Counts are exact but for hash
// collisions: with a million ids the chance of a single one is 3e-8.
//
// Persistence: ids are only appended, so they are saved as rows of kChunkIds, of which each save
// rewrites no more than the last unfinished one. That keeps a checkpoint small however many ids
// there are. <ephor/id_rows.hpp> writes and reads these rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor {

// insert and may_contain: O(1), no allocation but for growth (by doubling). Not thread-safe.
class IdSet {
 public:
  static constexpr std::size_t kChunkIds = 8192;

  // `limit`: how many ids may be held (at most 2^32 - 2).
  explicit IdSet(std::size_t limit) : limit_(limit), slots_(1024, 0) {}

  // True if `id` is new. At the limit nothing more is remembered: the count stops, is_exact() is
  // false from then on.
  bool insert(std::uint64_t id) {
    std::size_t slot = find_slot(id);
    if (slots_[slot] != 0) return false;
    if (ids_.size() >= limit_) {
      is_exact_ = false;
      return false;
    }
    ids_.push_back(id);
    slots_[slot] = static_cast<std::uint32_t>(ids_.size());
    if (ids_.size() * 10 > slots_.size() * 7) rebuild(slots_.size() * 2);
    return true;
  }

  // Which insertion, from 0, brought `id`: its place for good. Empty if it is not held.
  std::optional<std::size_t> find(std::uint64_t id) const {
    const std::uint32_t slot = slots_[find_slot(id)];
    if (slot == 0) return std::nullopt;
    return slot - 1;
  }

  // False only if `id` was certainly never inserted.
  bool may_contain(std::uint64_t id) const { return slots_[find_slot(id)] != 0 || !is_exact_; }

  std::size_t size() const { return ids_.size(); }
  bool is_exact() const { return is_exact_; }

  // Calls `write(chunk number, bytes)` for each chunk changed since the last call. The bytes (8 an
  // id, little-endian) are valid until `write` returns; write them as an upsert by chunk number.
  template <typename Write>
  void save_chunks(Write&& write) {
    std::string bytes;
    for (std::size_t begin = saved_ / kChunkIds * kChunkIds; begin < ids_.size();
         begin += kChunkIds) {
      bytes.clear();
      const std::size_t end = std::min(begin + kChunkIds, ids_.size());
      for (std::size_t i = begin; i < end; ++i) append(bytes, ids_[i]);
      write(static_cast<std::int64_t>(begin / kChunkIds), std::string_view(bytes));
    }
    saved_ = ids_.size();
  }

  // Chunks in order, from an empty set, until `count` ids are there; more than that is not read
  // (rows of an abandoned future). False if a chunk does not fit.
  bool load_chunk(std::int64_t chunk, std::string_view bytes, std::size_t count) {
    if (ids_.size() >= count) return true;
    if (chunk < 0 || static_cast<std::size_t>(chunk) * kChunkIds != ids_.size()) return false;
    if (bytes.size() % 8 != 0 || bytes.size() / 8 > kChunkIds) return false;
    for (std::size_t at = 0; at < bytes.size() && ids_.size() < count; at += 8) {
      std::uint64_t id = 0;
      for (std::size_t i = 8; i-- > 0;) id = id << 8 | static_cast<unsigned char>(bytes[at + i]);
      insert(id);
    }
    saved_ = ids_.size();
    return true;
  }

 private:
  static void append(std::string& bytes, std::uint64_t id) {
    char encoded[8];
    for (char& byte : encoded) {
      byte = static_cast<char>(id & 0xFF);
      id >>= 8;
    }
    bytes.append(encoded, sizeof encoded);
  }

  std::size_t find_slot(std::uint64_t id) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = static_cast<std::size_t>((id * 0x9E3779B97F4A7C15ULL) >> 20) & mask;
    while (slots_[slot] != 0 && ids_[slots_[slot] - 1] != id) slot = (slot + 1) & mask;
    return slot;
  }

  void rebuild(std::size_t slot_count) {
    slots_.assign(slot_count, 0);
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      slots_[find_slot(ids_[i])] = static_cast<std::uint32_t>(i + 1);
    }
  }

  std::size_t limit_;
  std::vector<std::uint64_t> ids_;
  std::vector<std::uint32_t> slots_;  // index into ids_ + 1, 0 = free; a power of two
  std::size_t saved_ = 0;
  bool is_exact_ = true;
};

}  // namespace ephor
