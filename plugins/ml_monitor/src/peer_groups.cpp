// SPDX-License-Identifier: Apache-2.0
#include "peer_groups.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace ephor::ml_monitor {
namespace {

// Drops what lies before `begin` once it is most of the list.
template <typename Item>
void trim(std::vector<Item>& list, std::size_t& begin) {
  if (begin < 1024 || begin * 2 < list.size()) return;
  list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(begin));
  begin = 0;
}

}  // namespace

void save_judged(StateWriter& out, const Judged& judged) {
  out.u32(judged.model).i64(judged.predicted_ns);
  for (const float value : judged.output) out.u32(std::bit_cast<std::uint32_t>(value));
  out.u32(std::bit_cast<std::uint32_t>(judged.confidence));
  out.u32(std::bit_cast<std::uint32_t>(judged.brier));
  out.u8(judged.actual);
  out.u8(static_cast<std::uint8_t>((judged.is_correct ? 1 : 0) | (judged.has_confidence ? 2 : 0) |
                                   (judged.has_brier ? 4 : 0) | (judged.is_repeating ? 8 : 0)));
}

void load_judged(StateReader& in, Judged& judged) {
  judged.model = in.u32();
  judged.predicted_ns = in.i64();
  for (float& value : judged.output) value = std::bit_cast<float>(in.u32());
  judged.confidence = std::bit_cast<float>(in.u32());
  judged.brier = std::bit_cast<float>(in.u32());
  judged.actual = in.u8();
  if (judged.actual > kActualMax) throw Error(EPHOR_INVALID, "state: no such class");
  const std::uint8_t flags = in.u8();
  judged.is_correct = (flags & 1) != 0;
  judged.has_confidence = (flags & 2) != 0;
  judged.has_brier = (flags & 4) != 0;
  judged.is_repeating = (flags & 8) != 0;
}

std::uint32_t PeerGroups::find(std::uint64_t key) const {
  return index_.find(key, [&](std::uint32_t at) { return slots_[at].group.key == key; });
}

std::uint32_t PeerGroups::make(std::uint64_t key) {
  std::uint32_t at = 0;
  if (free_.empty()) {
    at = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    at = free_.back();
    free_.pop_back();
  }
  slots_[at].number = ++made_;
  slots_[at].group = {};
  slots_[at].group.key = key;
  index_.insert(key, at);
  order_.push_back({0, key, made_});
  return at;
}

PeerGroup PeerGroups::take(std::uint32_t at) {
  index_.erase(slots_[at].group.key, at);
  slots_[at].number = 0;
  free_.push_back(at);
  return std::exchange(slots_[at].group, {});
}

void PeerGroups::give_up_overflow() {
  while (index_.size() > limits_.groups_max && order_begin_ < order_.size()) {
    const Wait oldest = order_[order_begin_++];
    const std::uint32_t at = find(oldest.key);
    if (at == HashIndex::kNone || slots_[at].number != oldest.number) continue;
    take(at);
    ++given_up_;
  }
  // Entries of groups that are complete pile up at the front otherwise.
  while (order_begin_ < order_.size()) {
    const Wait& oldest = order_[order_begin_];
    const std::uint32_t at = find(oldest.key);
    if (at != HashIndex::kNone && slots_[at].number == oldest.number) break;
    ++order_begin_;
  }
  trim(order_, order_begin_);
}

void PeerGroups::add_member(std::uint64_t key, std::uint16_t symbol, std::int64_t time_ns) {
  std::uint32_t at = find(key);
  if (at == HashIndex::kNone) {
    at = make(key);
    slots_[at].group.made_ns = time_ns;
    slots_[at].group.symbol = symbol;
    ++slots_[at].group.members;
    give_up_overflow();
    return;
  }
  ++slots_[at].group.members;
}

void PeerGroups::set_regime(std::uint64_t key, std::uint16_t regime) {
  const std::uint32_t at = find(key);
  if (at != HashIndex::kNone && slots_[at].group.regime == 0) slots_[at].group.regime = regime;
}

std::uint16_t PeerGroups::regime_of(std::uint64_t key) const {
  const std::uint32_t at = find(key);
  return at == HashIndex::kNone ? 0 : slots_[at].group.regime;
}

std::optional<PeerGroup> PeerGroups::add_judged(std::uint64_t key, std::uint16_t regime,
                                                const std::optional<Judged>& judged,
                                                std::int64_t time_ns) {
  const std::uint32_t at = find(key);
  if (at == HashIndex::kNone) return std::nullopt;
  PeerGroup& group = slots_[at].group;
  if (group.regime == 0) group.regime = regime;
  ++group.judged;
  if (judged && group.entries.size() < kMembersMax) group.entries.push_back(*judged);
  if (group.judged >= group.members) return take(at);
  if (group.first_judged_ns == kNoTime) {
    group.first_judged_ns = time_ns;
    waits_.push_back({time_plus(time_ns, limits_.wait_ns), key, slots_[at].number});
  }
  return std::nullopt;
}

std::vector<PeerGroup> PeerGroups::take_due(std::int64_t log_time_ns) {
  std::vector<PeerGroup> due;
  while (waits_begin_ < waits_.size() && waits_[waits_begin_].due_ns <= log_time_ns) {
    const Wait wait = waits_[waits_begin_++];
    const std::uint32_t at = find(wait.key);
    if (at != HashIndex::kNone && slots_[at].number == wait.number) due.push_back(take(at));
  }
  trim(waits_, waits_begin_);
  return due;
}

// Groups in the order they were made; waits in theirs, without those that are gone.
void PeerGroups::save(StateWriter& out) const {
  std::vector<std::uint32_t> order;
  for (std::uint32_t at = 0; at < slots_.size(); ++at) {
    if (slots_[at].number != 0) order.push_back(at);
  }
  std::sort(order.begin(), order.end(), [&](std::uint32_t left, std::uint32_t right) {
    return slots_[left].number < slots_[right].number;
  });
  out.varint(given_up_).varint(order.size());
  for (const std::uint32_t at : order) {
    const PeerGroup& group = slots_[at].group;
    out.u64(group.key).i64(group.made_ns).i64(group.first_judged_ns);
    out.varint(group.members).varint(group.judged).varint(group.symbol).varint(group.regime);
    out.varint(group.entries.size());
    for (const Judged& judged : group.entries) save_judged(out, judged);
  }
  std::vector<Wait> waits;
  for (std::size_t i = waits_begin_; i < waits_.size(); ++i) {
    const std::uint32_t at = find(waits_[i].key);
    if (at != HashIndex::kNone && slots_[at].number == waits_[i].number) waits.push_back(waits_[i]);
  }
  out.varint(waits.size());
  for (const Wait& wait : waits) out.i64(wait.due_ns).u64(wait.key);
}

void PeerGroups::load(StateReader& in, std::size_t symbols, std::size_t regimes,
                      std::size_t models) {
  given_up_ = in.varint();
  for (std::size_t left = in.count(24); left > 0; --left) {
    const std::uint64_t key = in.u64();
    if (find(key) != HashIndex::kNone) throw Error(EPHOR_INVALID, "state: a group twice");
    PeerGroup& group = slots_[make(key)].group;
    group.made_ns = in.i64();
    group.first_judged_ns = in.i64();
    group.members = static_cast<std::uint32_t>(in.varint());
    group.judged = static_cast<std::uint32_t>(in.varint());
    const std::uint64_t symbol = in.varint();
    const std::uint64_t regime = in.varint();
    if (symbol >= symbols || regime >= regimes) {
      throw Error(EPHOR_INVALID, "state: a symbol or regime that has no name");
    }
    group.symbol = static_cast<std::uint16_t>(symbol);
    group.regime = static_cast<std::uint16_t>(regime);
    group.entries.resize(in.count(40));
    for (Judged& judged : group.entries) {
      load_judged(in, judged);
      if (judged.model >= models) throw Error(EPHOR_INVALID, "state: a model that is not there");
    }
  }
  for (std::size_t left = in.count(16); left > 0; --left) {
    Wait wait;
    wait.due_ns = in.i64();
    wait.key = in.u64();
    const std::uint32_t at = find(wait.key);
    if (at == HashIndex::kNone) throw Error(EPHOR_INVALID, "state: a wait for no group");
    wait.number = slots_[at].number;
    waits_.push_back(wait);
  }
}

}  // namespace ephor::ml_monitor
