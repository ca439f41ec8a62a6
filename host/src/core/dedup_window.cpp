// SPDX-License-Identifier: Apache-2.0
#include "core/dedup_window.hpp"

#include <stdexcept>

namespace ephor::host {
namespace {
constexpr std::size_t kTableSlotsMin = 1024;
}

DedupWindow::DedupWindow(std::uint32_t capacity)
    : capacity_(capacity), table_(kTableSlotsMin, kFree) {
  if (capacity < 1 || capacity > (1U << 30)) {
    throw std::invalid_argument("DedupWindow: capacity must be 1 to 2^30");
  }
}

std::size_t DedupWindow::slot_of(const Hash128& id) const {
  const std::uint64_t tag = id.high << 32;
  std::size_t slot = home_of(id);
  for (std::uint64_t entry = table_[slot]; entry != kFree; entry = table_[slot]) {
    if ((entry & 0xFFFFFFFF00000000ULL) == tag && ring_[index_of(entry)] == id) break;
    slot = (slot + 1) & (table_.size() - 1);
  }
  return slot;
}

bool DedupWindow::insert(const Hash128& id) {
  std::size_t slot = slot_of(id);
  if (table_[slot] != kFree) return false;
  if (ring_.size() < capacity_) {
    ring_.push_back({});
  } else if (const std::size_t oldest = slot_of(ring_[next_]);
             table_[oldest] != kFree && index_of(table_[oldest]) == next_) {
    free_slot(oldest);
    --size_;
    slot = slot_of(id);
  }
  if ((static_cast<std::size_t>(size_) + 1) * 2 > table_.size()) {
    grow();
    slot = slot_of(id);
  }
  ring_[next_] = id;
  table_[slot] = slot_entry(id, next_);
  ++size_;
  next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
  return true;
}

void DedupWindow::erase(const Hash128& id) {
  const std::size_t slot = slot_of(id);
  if (table_[slot] == kFree) return;
  free_slot(slot);
  --size_;
}

// Knuth, The Art of Computer Programming 3, 6.4 algorithm R: the entries behind move up, so that no
// tombstone is needed.
void DedupWindow::free_slot(std::size_t slot) {
  const std::size_t mask = table_.size() - 1;
  std::size_t hole = slot;
  table_[hole] = kFree;
  for (std::size_t at = (hole + 1) & mask; table_[at] != kFree; at = (at + 1) & mask) {
    const std::size_t home = home_of(ring_[index_of(table_[at])]);
    const bool may_move = ((at - home) & mask) >= ((at - hole) & mask);
    if (!may_move) continue;
    table_[hole] = table_[at];
    table_[at] = kFree;
    hole = at;
  }
}

void DedupWindow::grow() {
  std::vector<std::uint64_t> old(table_.size() * 2, kFree);
  old.swap(table_);
  for (const std::uint64_t entry : old) {
    if (entry != kFree) table_[slot_of(ring_[index_of(entry)])] = entry;
  }
}

}  // namespace ephor::host
