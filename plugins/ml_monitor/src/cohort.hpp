// SPDX-License-Identifier: Apache-2.0
//
// Models that answer the same question (one symbol), side by side: decisions in blocks, and per
// model and block the figures that tell a model that went wrong from a market that went hard.
//
//  association  how closely its outputs move with those of the peers they used to move with, less
//               what all other pairs lost in the same block. Needs no label. A broken model loses
//               all its peers at once; its peers lose only it.
//  error, brier loss less the median of its peers' on the same decision
//  confidence   its confidence less the median of its peers'
//  gap          confidence minus being right, less the same of its peers
//
// Without peers they are the model's own error, Brier score, confidence and gap. Confidence is
// compared within the market regime of the decision, the gap within the class that came true, the
// losses within both (see block_shift.hpp): a rule that never says "hold" is no worse for a calm
// market.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

#include "block_shift.hpp"
#include "peer_groups.hpp"

namespace ephor::ml_monitor {

enum class Stream : std::uint8_t { kAssociation, kError, kBrier, kConfidence, kGap };
inline constexpr std::size_t kStreamCount = 5;

// Plain sums of one model in one block.
struct BlockFigures {
  std::int64_t begin_ns = 0;  // of the block's decisions
  std::int64_t end_ns = 0;
  std::uint32_t decisions = 0;
  std::uint32_t correct = 0;
  std::uint32_t brier_count = 0;
  std::uint32_t confidence_count = 0;
  std::uint32_t paired = 0;  // decisions with at least one peer
  double brier_sum = 0.0;
  double confidence_sum = 0.0;
  double peer_correct_sum = 0.0;  // of the paired: mean over the peers of each decision
  double peer_brier_sum = 0.0;
  std::uint32_t peer_brier_count = 0;

  void add(const BlockFigures& other);
  bool operator==(const BlockFigures&) const = default;
};

class Cohort {
 public:
  static constexpr std::size_t kModelsMax = 16;
  static constexpr std::size_t kBlocksMax = 192;  // kept per model; older ones are forgotten

  struct Limits {
    std::size_t block_decisions = 30;
    ShiftLimits shift;
  };

  // One model of the cohort.
  struct Member {
    std::uint32_t model = 0;
    std::array<std::vector<ShiftBlock>, kStreamCount> streams;
    std::vector<BlockFigures> figures;  // beside them, oldest first
    bool is_paired = false;             // its blocks are against peers
    std::size_t blocks_of_version = 0;  // closed since its version changed, and that one included

    const std::vector<ShiftBlock>& stream(Stream which) const {
      return streams[static_cast<std::size_t>(which)];
    }
    // The blocks from the last `k` on belong to an open finding, or no longer.
    void set_excluded(std::size_t k, bool is_excluded);
  };

  explicit Cohort(const Limits& limits) : limits_(limits) {}

  // True if the group ends a block: the members' blocks are then one longer.
  bool add(const PeerGroup& group);

  std::vector<Member>& members() { return members_; }
  const std::vector<Member>& members() const { return members_; }
  std::uint64_t beyond_bound() const { return beyond_bound_; }
  // The members of the block just closed, as places in members().
  const std::vector<std::size_t>& closed() const { return closed_; }
  // Forget what is known of the model's blocks: it is another model now.
  void forget(std::uint32_t model);
  void note_version_change(std::uint32_t model);
  // Correlation of two members' outputs over blocks, as known so far; NaN if not.
  double pair_mean(std::size_t left, std::size_t right) const;

  void save(StateWriter& out) const;
  void load(StateReader& in, std::size_t regimes, std::size_t models);

 private:
  struct Pair {
    double mean = 0.0;
    std::uint32_t count = 0;
  };
  // The part of a decision that is kept until its block is full.
  struct Row {
    std::uint16_t regime = 0;
    std::vector<Judged> entries;  // model: the place in members_
  };
  struct Sums;

  std::size_t place_of(std::uint32_t model);
  void close_block();
  void add_figures(std::vector<Sums>& sums) const;
  double correlation(std::size_t left, std::size_t right) const;
  std::vector<double> associations();
  void push(Member& member, Sums& sums, double association);
  static std::size_t pair_index(std::size_t left, std::size_t right);

  Limits limits_;
  std::vector<Member> members_;
  std::vector<Pair> pairs_;  // of members i < j at j (j - 1) / 2 + i
  std::vector<Row> rows_;
  std::vector<std::size_t> closed_;
  std::uint64_t beyond_bound_ = 0;
};

}  // namespace ephor::ml_monitor
