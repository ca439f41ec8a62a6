// SPDX-License-Identifier: Apache-2.0
#include "join_table.hpp"

#include <ephor/text_hash.hpp>
#include <utility>

namespace ephor::trade_tracker {

std::uint64_t JoinTable::key(char kind, std::string_view id) {
  return hash64(id) ^ static_cast<std::uint64_t>(kind) * 0x9E3779B97F4A7C15ULL;
}

void JoinTable::set_decision(std::uint64_t key, std::string_view decision_id) {
  if (!decisions_.insert_or_assign(key, std::string(decision_id)).second) return;
  order_.push_back(key);
  if (order_.size() > bound_) {
    decisions_.erase(order_.front());
    order_.pop_front();
  }
}

std::string_view JoinTable::decision_of(std::uint64_t key) const {
  const auto found = decisions_.find(key);
  return found == decisions_.end() ? std::string_view() : std::string_view(found->second);
}

void JoinTable::wait(std::uint64_t key, std::string_view trade_id) {
  const auto [begin, end] = tickets_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    if (waiting_.find(at->second)->second.trade_id == trade_id) return;
  }
  add_waiting({key, std::string(trade_id)});
}

void JoinTable::add_waiting(Waiting waiting) {
  tickets_.emplace(waiting.key, next_ticket_);
  waiting_.emplace(next_ticket_++, std::move(waiting));
  if (waiting_.size() <= bound_) return;
  const auto oldest = waiting_.begin();
  const auto [begin, end] = tickets_.equal_range(oldest->second.key);
  for (auto at = begin; at != end; ++at) {
    if (at->second != oldest->first) continue;
    tickets_.erase(at);
    break;
  }
  waiting_.erase(oldest);
  ++given_up_;
}

std::vector<std::string> JoinTable::take_waiting(std::uint64_t key) {
  std::vector<std::string> trades;
  const auto [begin, end] = tickets_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    const auto waiting = waiting_.find(at->second);
    trades.push_back(std::move(waiting->second.trade_id));
    waiting_.erase(waiting);
  }
  tickets_.erase(begin, end);
  return trades;
}

void JoinTable::write(StateWriter& out) const {
  out.varint(order_.size());
  for (const std::uint64_t key : order_) out.u64(key).text(decisions_.find(key)->second);
  out.varint(waiting_.size());
  for (const auto& [ticket, waiting] : waiting_) out.u64(waiting.key).text(waiting.trade_id);
  out.varint(given_up_);
}

void JoinTable::read(StateReader& in) {
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::uint64_t key = in.u64();
    set_decision(key, in.view());
  }
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::uint64_t key = in.u64();
    add_waiting({key, in.text()});
  }
  given_up_ = in.varint();
}

}  // namespace ephor::trade_tracker
