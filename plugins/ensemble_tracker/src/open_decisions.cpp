// SPDX-License-Identifier: Apache-2.0
#include "open_decisions.hpp"

namespace ephor::ensemble_tracker {

std::uint32_t OpenDecisions::add(std::int64_t deadline_ns) {
  std::uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Node& node = nodes_[slot];
  node.deadline_ns = deadline_ns;
  node.previous = tail_;
  node.next = kNone;
  node.correlated_next = kNone;
  (tail_ == kNone ? head_ : nodes_[tail_].next) = slot;
  tail_ = slot;
  ++size_;
  return slot;
}

void OpenDecisions::release(std::uint32_t slot) {
  Node& node = nodes_[slot];
  const Decision& decision = node.decision;
  if (decision.key != 0) by_id_.erase(decision.key);
  for (std::size_t k = 0; k < decision.members.size(); ++k) {
    const std::uint64_t key = decision.members[k].prediction_key;
    if (key != 0 && by_prediction_.find(key) == slot * kMembersMax + k) by_prediction_.erase(key);
  }
  if (decision.correlation != 0) {
    std::uint32_t at = by_correlation_.find(decision.correlation);
    if (at == slot) {
      if (node.correlated_next == kNone) {
        by_correlation_.erase(decision.correlation);
      } else {
        by_correlation_.set(decision.correlation, node.correlated_next);
      }
    } else {
      while (nodes_[at].correlated_next != slot) at = nodes_[at].correlated_next;
      nodes_[at].correlated_next = node.correlated_next;
    }
  }
  (node.previous == kNone ? head_ : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? tail_ : nodes_[node.next].previous) = node.previous;
  node.decision.clear();
  node.is_changed = false;
  ++node.generation;
  free_.push_back(slot);
  --size_;
}

OpenDecisions::Place OpenDecisions::find_prediction(std::uint64_t key) const {
  const std::uint32_t found = by_prediction_.find(key);
  if (found == kNone) return {};
  return {static_cast<std::uint32_t>(found / kMembersMax), found % kMembersMax};
}

void OpenDecisions::set_id(std::uint32_t slot, std::uint64_t key) {
  nodes_[slot].decision.key = key;
  by_id_.set(key, slot);
}

void OpenDecisions::set_correlation(std::uint32_t slot, std::uint64_t correlation) {
  if (correlation == 0 || nodes_[slot].decision.correlation != 0) return;
  nodes_[slot].decision.correlation = correlation;
  std::uint32_t at = by_correlation_.find(correlation);
  if (at == kNone) {
    by_correlation_.set(correlation, slot);
    return;
  }
  while (nodes_[at].correlated_next != kNone) at = nodes_[at].correlated_next;
  nodes_[at].correlated_next = slot;
}

void OpenDecisions::set_prediction(std::uint32_t slot, std::size_t member, std::uint64_t key) {
  nodes_[slot].decision.members[member].prediction_key = key;
  by_prediction_.set(key, static_cast<std::uint32_t>(slot * kMembersMax + member));
}

void OpenDecisions::write(StateWriter& out) const {
  out.varint(size_);
  for (std::uint32_t slot = head_; slot != kNone; slot = nodes_[slot].next) {
    out.i64(nodes_[slot].deadline_ns);
    ensemble_tracker::write(out, nodes_[slot].decision);
  }
}

void OpenDecisions::read(StateReader& in) {
  for (std::size_t left = in.count(100); left > 0; --left) {
    const std::uint32_t slot = add(in.i64());
    Decision loaded;
    ensemble_tracker::read(in, loaded);
    if (loaded.members.size() > kMembersMax) throw Error(EPHOR_INVALID, "state: too many members");
    const std::uint64_t correlation = std::exchange(loaded.correlation, 0);
    nodes_[slot].decision = std::move(loaded);
    Decision& decision = nodes_[slot].decision;
    if (decision.key != 0) set_id(slot, decision.key);
    set_correlation(slot, correlation);
    for (std::size_t k = 0; k < decision.members.size(); ++k) {
      if (decision.members[k].prediction_key != 0) {
        set_prediction(slot, k, decision.members[k].prediction_key);
      }
    }
  }
}

}  // namespace ephor::ensemble_tracker
