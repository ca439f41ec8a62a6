// SPDX-License-Identifier: Apache-2.0
//
// Counts of one ensemble. All of them are sums, so they depend on no order; figures are made of
// them when asked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <ephor/wilson.hpp>
#include <map>
#include <vector>

#include "vocabulary.hpp"

namespace ephor::ensemble_tracker {

// One kind of prediction against what came true.
struct Score {
  std::uint64_t known = 0;  // predicted, and the outcome is known
  std::uint64_t correct = 0;
  std::uint64_t acted = 0;  // of the known: predicted anything but hold
  std::uint64_t acted_correct = 0;
  std::uint64_t briers = 0;
  double brier_sum = 0.0;

  void add(const Score& other);
};
void write(StateWriter& out, const Score& score);
void read(StateReader& in, Score& score);

// What is scored of every decision; members come behind, by their slot in the ensemble.
enum Track : std::size_t {
  kFinal,
  kPrimary,
  kMeta,
  kMetaScore,  // the meta learner's score above or below 1/2, where a path tells it
  kMajority,
  kWeighted,  // by the client's weights
  kLearned,   // by ours
  kFixedTracks
};

// The scores of all tracks in one (hour, regime).
struct Cell {
  std::map<NameId, std::uint64_t> decisions;  // by final label; kNoName: none told
  std::vector<Score> tracks;                  // kFixedTracks + members

  Score& track(std::size_t at) {
    if (tracks.size() <= at) tracks.resize(at + 1);
    return tracks[at];
  }
  std::uint64_t decision_count() const;
  void add(const Cell& other);
};
void write(StateWriter& out, const Cell& cell);
void read(StateReader& in, Cell& cell);

// By regime; kNoName: none told.
using RegimeCells = std::map<NameId, Cell>;
void write(StateWriter& out, const RegimeCells& cells);
void read(StateReader& in, RegimeCells& cells);

// How the votes of two models go together, over decisions both voted in.
struct PairCounts {
  std::uint64_t voted = 0;
  std::uint64_t agreed = 0;
  std::uint64_t both_right = 0;
  std::uint64_t first_right = 0;   // only
  std::uint64_t second_right = 0;  // only
  std::uint64_t both_wrong = 0;
};

// A decider against the weighted vote.
struct OverrideCounts {
  std::uint64_t both = 0;       // both named a label
  std::uint64_t overrides = 0;  // another one
  std::uint64_t known = 0;      // of the overrides: the outcome is known
  std::uint64_t right = 0;
  std::uint64_t vote_right = 0;
};

struct LeaveOneOut {
  std::uint64_t known = 0;  // decisions with an outcome it voted in with weight
  std::uint64_t with_right = 0;
  std::uint64_t without_right = 0;
  std::uint64_t flips = 0;  // without it the vote would be another
};

// Means of what was told and of what we compute about agreement.
struct AgreementSums {
  std::uint64_t consensus_told = 0;
  std::uint64_t disagreement_told = 0;
  std::uint64_t computed = 0;
  std::uint64_t pairs = 0;
  std::uint64_t ties = 0;
  double consensus_sum = 0.0;
  double disagreement_sum = 0.0;
  double share_sum = 0.0;
  double pairwise_sum = 0.0;
  double entropy_sum = 0.0;
};

// The last answered decisions, as bits by track.
class Window {
 public:
  explicit Window(std::size_t bound) : bound_(bound) {}
  void add(std::uint64_t known, std::uint64_t correct);
  std::size_t size() const { return entries_.size(); }
  Score score(std::size_t track) const;  // known and correct only
  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Entry {
    std::uint64_t known;
    std::uint64_t correct;
  };
  std::size_t bound_;
  std::deque<Entry> entries_;
  std::array<std::uint32_t, 64> known_{};
  std::array<std::uint32_t, 64> correct_{};
};

// 95 % by Wilson's score; {NaN, NaN} without a trial.
Interval wilson(std::uint64_t hits, std::uint64_t trials);

}  // namespace ephor::ensemble_tracker
