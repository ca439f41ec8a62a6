// SPDX-License-Identifier: Apache-2.0
//
// Predictions of several models about the same thing: those of one correlation id (or, without one,
// of one symbol and time). Only such peers can tell a model that went wrong from a market that went
// hard. A group is handed on when the outcome of each member is known, or `wait_ns` after the first
// one; groups beyond the bound are given up, oldest first.
#pragma once

#include <array>
#include <cstdint>
#include <ephor/state.hpp>
#include <optional>
#include <vector>

#include "hash_index.hpp"
#include "times.hpp"

namespace ephor::ml_monitor {

// Class probabilities by label number; labels beyond are left out.
inline constexpr std::size_t kOutputClasses = 8;
inline constexpr std::uint8_t kActualMax = 7;
using Output = std::array<float, kOutputClasses>;

struct Judged {
  std::uint32_t model = 0;
  std::int64_t predicted_ns = 0;
  Output output{};  // probabilities; of a bare class 1 at that class
  float confidence = 0.0F;
  float brier = 0.0F;
  std::uint8_t actual = 0;  // number of the class that came true, at most kActualMax
  bool is_correct = false;
  bool has_confidence = false;
  bool has_brier = false;
  bool is_repeating = false;  // part of a run of the same output that is longer than any before
};

struct PeerGroup {
  std::uint64_t key = 0;
  std::int64_t made_ns = 0;
  std::int64_t first_judged_ns = kNoTime;
  std::uint32_t members = 0;
  std::uint32_t judged = 0;
  std::uint16_t symbol = 0;
  std::uint16_t regime = 0;  // 0: not told
  std::vector<Judged> entries;
};

class PeerGroups {
 public:
  static constexpr std::size_t kMembersMax = 64;
  struct Limits {
    std::size_t groups_max = 20'000;
    std::int64_t wait_ns = 600'000'000'000;
  };

  explicit PeerGroups(const Limits& limits) : limits_(limits) {}

  void add_member(std::uint64_t key, std::uint16_t symbol, std::int64_t time_ns);
  // Of a group that is there; the first one counts.
  void set_regime(std::uint64_t key, std::uint16_t regime);
  std::uint16_t regime_of(std::uint64_t key) const;
  // `judged` empty: known, but not to be compared. The whole group if it is complete now.
  std::optional<PeerGroup> add_judged(std::uint64_t key, std::uint16_t regime,
                                      const std::optional<Judged>& judged, std::int64_t time_ns);
  // Groups whose wait is over, in the order of their first outcome.
  std::vector<PeerGroup> take_due(std::int64_t log_time_ns);

  std::size_t size() const { return index_.size(); }
  std::uint64_t given_up() const { return given_up_; }

  void save(StateWriter& out) const;
  // Throws Error if it is not what save wrote, or names what is beyond these counts.
  void load(StateReader& in, std::size_t symbols, std::size_t regimes, std::size_t models);

 private:
  struct Wait {
    std::int64_t due_ns = 0;
    std::uint64_t key = 0;
    std::uint64_t number = 0;
  };
  struct Slot {
    PeerGroup group;
    std::uint64_t number = 0;  // of the group, counted up; 0: free
  };

  std::uint32_t find(std::uint64_t key) const;
  std::uint32_t make(std::uint64_t key);
  PeerGroup take(std::uint32_t at);
  void give_up_overflow();

  Limits limits_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  HashIndex index_;
  std::uint64_t made_ = 0;
  std::uint64_t given_up_ = 0;
  // Both in order; entries of groups that are gone are skipped.
  std::vector<Wait> order_;
  std::size_t order_begin_ = 0;
  std::vector<Wait> waits_;
  std::size_t waits_begin_ = 0;
};

void save_judged(StateWriter& out, const Judged& judged);
void load_judged(StateReader& in, Judged& judged);

}  // namespace ephor::ml_monitor
