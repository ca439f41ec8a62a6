// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ephor::trade_tracker {

// Ids that lead to others: which decision an execution or an order belongs to, and which trades
// wait to learn it. Both sides are bounded, first in, first out; a trade that had to leave stays
// unjoined and is counted.
class JoinTable {
 public:
  explicit JoinTable(std::size_t bound) : bound_(bound) {}

  // `kind`: 'e' execution, 'o' order, 'd' decision.
  static std::uint64_t key(char kind, std::string_view id);

  void set_decision(std::uint64_t key, std::string_view decision_id);
  std::string_view decision_of(std::uint64_t key) const;  // empty: not known

  void wait(std::uint64_t key, std::string_view trade_id);
  // The trades that wait for `key`, oldest first; they wait no longer.
  std::vector<std::string> take_waiting(std::uint64_t key);

  std::size_t waiting_count() const { return waiting_.size(); }
  std::uint64_t given_up_count() const { return given_up_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Waiting {
    std::uint64_t key;
    std::string trade_id;
  };

  void add_waiting(Waiting waiting);

  std::size_t bound_;
  std::unordered_map<std::uint64_t, std::string> decisions_;
  std::deque<std::uint64_t> order_;                      // keys of decisions_, oldest first
  std::map<std::uint64_t, Waiting> waiting_;             // by ticket: oldest first
  std::multimap<std::uint64_t, std::uint64_t> tickets_;  // by key
  std::uint64_t next_ticket_ = 1;
  std::uint64_t given_up_ = 0;
};

}  // namespace ephor::trade_tracker
