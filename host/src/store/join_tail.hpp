// SPDX-License-Identifier: Apache-2.0
//
// The newest entries of the join index, in memory. Each batch's keys come sorted; neighbouring
// segments of about one size are merged into one sorted segment, so that of n entries there are
// O(log n) segments: a look-up is a binary search in each, and an entry is moved O(log n) times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace ephor::host {

// One writer; a copy is cheap (it shares the segments, which never change).
class JoinTail {
 public:
  // `keys` sorted and distinct. Throws std::runtime_error if positions are 2^32 apart.
  void add(std::uint64_t position, std::span<const std::uint64_t> keys);
  void append(const JoinTail& newer);
  void remove_before(std::uint64_t position);

  // Appends the positions of each of `keys`, in no order.
  void find(std::span<const std::uint64_t> keys, std::vector<std::uint64_t>& positions) const;

  std::size_t size() const;
  std::size_t segment_count() const { return segments_.size(); }

  // Sorted by key, then position. Two arrays, because a search looks at keys alone.
  struct Segment {
    std::uint64_t first_position = 0;
    std::vector<std::uint64_t> keys;
    std::vector<std::uint32_t> offsets;  // position less the first

    std::uint64_t position(std::size_t at) const { return first_position + offsets[at]; }
  };
  // All entries as one segment.
  std::shared_ptr<const Segment> merged() const;

  template <typename Visitor>
  void visit(Visitor&& visitor) const {
    for (const auto& segment : segments_) {
      for (std::size_t i = 0; i < segment->keys.size(); ++i) {
        visitor(segment->keys[i], segment->position(i));
      }
    }
  }

 private:
  using Pointer = std::shared_ptr<const Segment>;

  static Pointer merge(const Segment& older, const Segment& newer);
  void push(Pointer newest);

  std::vector<Pointer> segments_;  // oldest first, each more than twice as large as the next
};

}  // namespace ephor::host
