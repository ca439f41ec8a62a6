// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "event/hash.hpp"

namespace ephor::host {

// The identities of the last `capacity` events. When it is full the oldest makes room, so a
// duplicate is recognised within that distance. Memory: 16 bytes an event plus 16 to 32 for the
// table, grown as needed. Not thread-safe.
class DedupWindow {
 public:
  // 1 to 2^30 events.
  explicit DedupWindow(std::uint32_t capacity);

  bool contains(const Hash128& id) const { return table_[slot_of(id)] != kFree; }
  // Tells the processor that `id` will be asked for soon; the table is larger than its caches.
  void prefetch(const Hash128& id) const { __builtin_prefetch(&table_[home_of(id)]); }
  // False if it is there already.
  bool insert(const Hash128& id);
  // Takes back an insertion whose event was not stored after all.
  void erase(const Hash128& id);

  std::uint32_t size() const { return size_; }

 private:
  // A slot: 32 bits of the id's hash, which spare most look-ups in ring_, and index into it + 1.
  static constexpr std::uint64_t kFree = 0;
  static std::uint64_t slot_entry(const Hash128& id, std::uint32_t index) {
    return (id.high << 32) | (index + 1U);
  }
  static std::uint32_t index_of(std::uint64_t entry) {
    return static_cast<std::uint32_t>(entry) - 1U;
  }

  std::size_t home_of(const Hash128& id) const { return id.low & (table_.size() - 1); }
  std::size_t slot_of(const Hash128& id) const;  // where it is, or the free slot where it belongs
  void grow();
  void free_slot(std::size_t slot);

  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::uint32_t next_ = 0;  // ring index that the next insertion takes
  std::vector<Hash128> ring_;
  std::vector<std::uint64_t> table_;  // power of two, linear probing
};

}  // namespace ephor::host
