// SPDX-License-Identifier: Apache-2.0
//
// What the members of one decision say together. Pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "decision.hpp"

namespace ephor::ensemble_tracker {

struct Majority {
  NameId label = kNoName;
  double share = 0.0;  // of those who voted
  std::size_t voters = 0;
  bool is_tie = false;         // broken by the sum of confidences, then by the lower number
  double pairwise = kUnknown;  // share of pairs that agree; NaN with less than two voters
  double entropy = 0.0;        // of the vote, in [0, 1]: 1 = all labels that were named equally
};
Majority majority_of(const Decision& decision);

// The label with the greatest sum of weight * probability, where all members with a weight told
// probabilities, else of weight * vote. Ties go to the lower number.
// `weights`: by member, NaN or <= 0 = no part. `without`: a member to leave out.
struct WeightedVote {
  NameId label = kNoName;
  double score = 0.0;   // its share of the weight
  double margin = 0.0;  // to the second
  bool is_soft = false;
};
inline constexpr std::size_t kNobodyLeftOut = SIZE_MAX;
class VoteCounter {
 public:
  WeightedVote count(const Decision& decision, std::span<const double> weights,
                     std::size_t without = kNobodyLeftOut);
  // Label by label, of the last count; sums to 1.
  const std::vector<ClassProbability>& scores() const { return scores_; }

 private:
  void add(NameId label, double amount);
  std::vector<ClassProbability> scores_;
};

// Usable probabilities: each in [0, 1], together at most 1.02. What is missing to 1 beyond 0.01
// counts as one further class.
bool has_probabilities(const Decision& decision, const Member& member);
// Half the Brier score over classes, in [0, 1]; for two classes (p - y)^2.
double brier_loss(const Decision& decision, const Member& member, NameId actual);
// The same of a mix: sum of weights[k] * probabilities of member k. `weights` sum to 1.
double mixed_brier_loss(const Decision& decision, std::span<const double> weights, NameId actual,
                        std::vector<ClassProbability>& scratch);

}  // namespace ephor::ensemble_tracker
