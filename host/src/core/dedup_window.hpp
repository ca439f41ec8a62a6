// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "event/hash.hpp"

namespace ephor::host {

// The identities of the last `capacity` events. When it is full the oldest makes room, so a
// duplicate is recognised within that distance. Memory: 16 bytes an event plus 4 to 8 for the
// table, grown as needed. Not thread-safe.
class DedupWindow {
 public:
  // 1 to 2^30 events.
  explicit DedupWindow(std::uint32_t capacity);

  bool contains(const Hash128& id) const { return table_[slot_of(id)] != kFree; }
  // False if it is there already.
  bool insert(const Hash128& id);
  // Takes back an insertion whose event was not stored after all.
  void erase(const Hash128& id);

  std::uint32_t size() const { return size_; }

 private:
  static constexpr std::uint32_t kFree = 0;  // else index into ring_ + 1

  std::size_t home_of(const Hash128& id) const { return id.low & (table_.size() - 1); }
  std::size_t slot_of(const Hash128& id) const;  // where it is, or the free slot where it belongs
  void grow();
  void free_slot(std::size_t slot);

  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::uint32_t next_ = 0;  // ring index that the next insertion takes
  std::vector<Hash128> ring_;
  std::vector<std::uint32_t> table_;  // power of two, linear probing
};

}  // namespace ephor::host
