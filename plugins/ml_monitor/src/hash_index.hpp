// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ephor::ml_monitor {

// Open addressing from a hash to a 32-bit reference (an index into the owner's storage, where the
// full key lies). 8 bytes a slot, linear probing, at most half full, deletion by shifting back, no
// allocation but for growth. Its iteration order is never used, so nothing depends on it.
class HashIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // `is_same(reference)` compares the full key; called only where 32 bits of the hash agree.
  template <typename IsSame>
  std::uint32_t find(std::uint64_t hash, IsSame&& is_same) const {
    if (slots_.empty()) return kNone;
    const auto tag = static_cast<std::uint32_t>(hash);
    for (std::size_t at = tag & mask_; slots_[at].reference != kNone; at = (at + 1) & mask_) {
      if (slots_[at].tag == tag && is_same(slots_[at].reference)) return slots_[at].reference;
    }
    return kNone;
  }

  // The key must not be there yet.
  void insert(std::uint64_t hash, std::uint32_t reference) {
    if ((size_ + 1) * 2 > slots_.size()) grow();
    place({static_cast<std::uint32_t>(hash), reference});
    ++size_;
  }

  // The pair must be there.
  void erase(std::uint64_t hash, std::uint32_t reference) {
    std::size_t hole = slot_of(hash, reference);
    for (std::size_t at = (hole + 1) & mask_; slots_[at].reference != kNone;
         at = (at + 1) & mask_) {
      const std::size_t home = slots_[at].tag & mask_;
      // Movable unless its home lies cyclically in (hole, at].
      if (((at - home) & mask_) >= ((at - hole) & mask_)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole].reference = kNone;
    --size_;
  }

  // The pair (hash, from) must be there.
  void redirect(std::uint64_t hash, std::uint32_t from, std::uint32_t to) {
    slots_[slot_of(hash, from)].reference = to;
  }

  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t reference = kNone;
  };

  std::size_t slot_of(std::uint64_t hash, std::uint32_t reference) const {
    std::size_t at = static_cast<std::uint32_t>(hash) & mask_;
    while (slots_[at].reference != reference) {
      assert(slots_[at].reference != kNone);
      at = (at + 1) & mask_;
    }
    return at;
  }
  void place(Slot slot) {
    std::size_t at = slot.tag & mask_;
    while (slots_[at].reference != kNone) at = (at + 1) & mask_;
    slots_[at] = slot;
  }
  void grow() {
    std::vector<Slot> old = std::exchange(slots_, {});
    slots_.resize(old.empty() ? 64 : old.size() * 2);
    mask_ = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.reference != kNone) place(slot);
    }
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
};

}  // namespace ephor::ml_monitor
