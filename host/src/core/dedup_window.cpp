// SPDX-License-Identifier: Apache-2.0
#include "core/dedup_window.hpp"

#include <stdexcept>

namespace ephor::host {
namespace {
constexpr std::size_t kTableSlotsMin = 1024;
}

DedupWindow::DedupWindow(std::uint32_t capacity) : capacity_(capacity), table_(kTableSlotsMin, kFree) {
  if (capacity < 1 || capacity > (1U << 30)) {
    throw std::invalid_argument("DedupWindow: capacity must be 1 to 2^30");
  }
}

std::size_t DedupWindow::slot_of(const Hash128& id) const {
  std::size_t slot = home_of(id);
  while (table_[slot] != kFree && !(ring_[table_[slot] - 1] == id)) {
    slot = (slot + 1) & (table_.size() - 1);
  }
  return slot;
}

bool DedupWindow::insert(const Hash128& id) {
  if (table_[slot_of(id)] != kFree) return false;
  if (ring_.size() < capacity_) {
    ring_.push_back({});
  } else if (const std::size_t oldest = slot_of(ring_[next_]); table_[oldest] == next_ + 1) {
    free_slot(oldest);
    --size_;
  }
  if ((static_cast<std::size_t>(size_) + 1) * 2 > table_.size()) grow();
  ring_[next_] = id;
  table_[slot_of(id)] = next_ + 1;
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
    const std::size_t home = home_of(ring_[table_[at] - 1]);
    const bool may_move = ((at - home) & mask) >= ((at - hole) & mask);
    if (!may_move) continue;
    table_[hole] = table_[at];
    table_[at] = kFree;
    hole = at;
  }
}

void DedupWindow::grow() {
  std::vector<std::uint32_t> old(table_.size() * 2, kFree);
  old.swap(table_);
  for (const std::uint32_t entry : old) {
    if (entry != kFree) table_[slot_of(ring_[entry - 1])] = entry;
  }
}

}  // namespace ephor::host
