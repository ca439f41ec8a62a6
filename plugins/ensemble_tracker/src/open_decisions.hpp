// SPDX-License-Identifier: Apache-2.0
//
// Decisions that something is still to come for, found by every id that may name them: decision id,
// prediction id, correlation id. In order of arrival, so that the oldest can make room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

#include "decision.hpp"
#include "flat_index.hpp"

namespace ephor::ensemble_tracker {

class OpenDecisions {
 public:
  static constexpr std::uint32_t kNone = FlatIndex::kNone;
  static constexpr std::size_t kMembersMax = 64;

  struct Place {
    std::uint32_t slot = kNone;
    std::size_t member = 0;
  };

  // A new, empty decision; `deadline_ns`: when it is given up.
  std::uint32_t add(std::int64_t deadline_ns);
  void release(std::uint32_t slot);

  Decision& at(std::uint32_t slot) { return nodes_[slot].decision; }
  const Decision& at(std::uint32_t slot) const { return nodes_[slot].decision; }
  std::int64_t deadline_ns(std::uint32_t slot) const { return nodes_[slot].deadline_ns; }
  void set_deadline(std::uint32_t slot, std::int64_t ns) { nodes_[slot].deadline_ns = ns; }
  // Tells two users of one slot apart.
  std::uint32_t generation(std::uint32_t slot) const { return nodes_[slot].generation; }
  void mark_changed(std::uint32_t slot) { nodes_[slot].is_changed = true; }
  bool take_changed(std::uint32_t slot) { return std::exchange(nodes_[slot].is_changed, false); }

  std::uint32_t find_id(std::uint64_t key) const { return by_id_.find(key); }
  Place find_prediction(std::uint64_t key) const;
  // All that share a correlation id, in order of arrival: next_correlated leads on.
  std::uint32_t first_correlated(std::uint64_t correlation) const {
    return correlation == 0 ? kNone : by_correlation_.find(correlation);
  }
  std::uint32_t next_correlated(std::uint32_t slot) const { return nodes_[slot].correlated_next; }

  void set_id(std::uint32_t slot, std::uint64_t key);
  void set_correlation(std::uint32_t slot, std::uint64_t correlation);
  void set_prediction(std::uint32_t slot, std::size_t member, std::uint64_t key);

  std::uint32_t oldest() const { return head_; }
  std::uint32_t next(std::uint32_t slot) const { return nodes_[slot].next; }
  std::size_t size() const { return size_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Node {
    Decision decision;
    std::int64_t deadline_ns = 0;
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    std::uint32_t correlated_next = kNone;
    std::uint32_t generation = 0;
    bool is_changed = false;
  };

  std::vector<Node> nodes_;
  std::vector<std::uint32_t> free_;
  std::uint32_t head_ = kNone;
  std::uint32_t tail_ = kNone;
  std::size_t size_ = 0;
  FlatIndex by_id_;
  FlatIndex by_prediction_;   // slot * kMembersMax + member
  FlatIndex by_correlation_;  // the first of a chain
};

}  // namespace ephor::ensemble_tracker
