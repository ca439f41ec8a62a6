// SPDX-License-Identifier: Apache-2.0
//
// The batches that look-ups have just unpacked. Questions come in bunches (a trace, then its
// correlation id, then the trace beside it in the list), and one batch holds some hundred traces:
// without this every look-up inflates half a megabyte again for the eleven records it wants.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "store/journal.hpp"

namespace ephor::host {

// Thread-safe. A batch never changes, so an entry is never wrong; who asks for a removed one finds
// its position no more in the index.
class BatchCache {
 public:
  using Pointer = std::shared_ptr<const StoredBatch>;

  explicit BatchCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // The batch at `position`; `read(position)` gives it where it is not here, outside the lock, and
  // may throw. A batch above a quarter of the bound is not kept.
  template <typename Read>
  Pointer get(std::uint64_t position, Read&& read) {
    if (Pointer found = find(position)) return found;
    auto batch = std::make_shared<const StoredBatch>(read(position));
    keep(position, batch);
    return batch;
  }

 private:
  struct Entry {
    std::uint64_t position = 0;
    Pointer batch;
  };

  static std::size_t size_of(const StoredBatch& batch) {
    return batch.bytes.capacity() + batch.records.capacity() * sizeof(StoredRecord);
  }

  Pointer find(std::uint64_t position) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& e) { return e.position == position; });
    if (found == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found);
    return found->batch;
  }

  void keep(std::uint64_t position, const Pointer& batch) {
    const std::size_t size = size_of(*batch);
    if (size > bytes_max_ / 4) return;
    const std::scoped_lock lock(mutex_);
    const bool is_here = std::any_of(entries_.begin(), entries_.end(),
                                     [&](const Entry& e) { return e.position == position; });
    if (is_here) return;  // another thread was faster
    entries_.push_front({position, batch});
    bytes_ += size;
    while (bytes_ > bytes_max_) {
      bytes_ -= size_of(*entries_.back().batch);
      entries_.pop_back();
    }
  }

  const std::size_t bytes_max_;
  std::mutex mutex_;          // guards all below
  std::list<Entry> entries_;  // latest used first; a dozen
  std::size_t bytes_ = 0;
};

}  // namespace ephor::host
