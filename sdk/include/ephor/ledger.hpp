// SPDX-License-Identifier: Apache-2.0
//
// A bounded cache of records whose truth is rows: the part of a table that is in memory. It holds
// what changed and what is likely to change again, first in, first out. The owner reads a record
// that is not here back from its row and inserts it.
//
// A record leaves memory only when a later save has begun than the one that wrote it: only then is
// its row certainly committed and can be read back. Between two checkpoints the bound is therefore
// soft: it may be passed by what changed since the last but one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ephor {

// Keys are 64-bit hashes of the records' ids (<ephor/text_hash.hpp>). find, insert and
// mark_changed: O(1). Not thread-safe; belongs to the instance's [dispatch] and [query] calls,
// which the host serialises.
template <typename Record>
class Ledger {
 public:
  // `bound`: records kept in memory.
  explicit Ledger(std::size_t bound) : bound_(bound) {}
  Ledger(const Ledger&) = delete;  // last_ points into entries_
  Ledger& operator=(const Ledger&) = delete;

  // Null if the record is not in memory. Valid until the next insert or save.
  Record* find(std::uint64_t key) {
    Entry* entry = find_entry(key);
    return entry == nullptr ? nullptr : &entry->record;
  }
  // `key` must not be here. A fresh record must be marked changed, one read back from its row need
  // not be. Valid until the next insert or save.
  Record& insert(std::uint64_t key, Record record) {
    evict();
    order_.push_back(key);
    last_key_ = key;
    last_ = &entries_.emplace(key, Entry{std::move(record), 0, false}).first->second;
    return last_->record;
  }
  // `key` must be here. Its record will be written by the next save.
  void mark_changed(std::uint64_t key) {
    Entry& entry = *find_entry(key);
    if (!entry.is_changed) changed_.push_back(key);
    entry.is_changed = true;
  }
  // Calls `write(record)` for each record changed since the last call, in order of change.
  template <typename Write>
  void save(Write&& write) {
    ++save_number_;
    for (const std::uint64_t key : changed_) {
      Entry& entry = entries_.find(key)->second;
      write(entry.record);
      entry.is_changed = false;
      entry.saved_in = save_number_;
    }
    changed_.clear();
    evict();
  }
  // Calls `visit(record)` for each record in memory, in order of insertion. O(size).
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const std::uint64_t key : order_) visit(entries_.find(key)->second.record);
  }
  std::size_t size() const { return entries_.size(); }
  // Records that made room since the start; a statistic, not part of a saved state.
  std::uint64_t evicted() const { return evicted_; }

 private:
  struct Entry {
    Record record;
    std::uint64_t saved_in = 0;  // 0: read back, its row is there
    bool is_changed = false;
  };

  // Events of one id mostly come together, so the last answer is kept. Entries do not move.
  Entry* find_entry(std::uint64_t key) {
    if (last_ != nullptr && last_key_ == key) return last_;
    const auto found = entries_.find(key);
    if (found == entries_.end()) return nullptr;
    last_key_ = key;
    last_ = &found->second;
    return last_;
  }

  void evict() {
    last_ = nullptr;
    while (entries_.size() >= bound_ && !order_.empty()) {
      const auto oldest = entries_.find(order_.front());
      const Entry& entry = oldest->second;
      if (entry.is_changed || entry.saved_in == save_number_) return;
      entries_.erase(oldest);
      order_.pop_front();
      ++evicted_;
    }
  }

  std::size_t bound_;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::deque<std::uint64_t> order_;
  std::vector<std::uint64_t> changed_;
  std::uint64_t last_key_ = 0;
  Entry* last_ = nullptr;
  std::uint64_t save_number_ = 1;
  std::uint64_t evicted_ = 0;
};

}  // namespace ephor
