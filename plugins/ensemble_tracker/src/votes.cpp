// SPDX-License-Identifier: Apache-2.0
#include "votes.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ensemble_tracker {
namespace {

constexpr double kMissingMin = 0.01;
constexpr double kSumMax = 1.02;

std::span<const ClassProbability> classes_of(const Decision& decision, const Member& member) {
  return std::span(decision.classes).subspan(member.class_begin, member.class_count);
}

double half_brier(std::span<const ClassProbability> classes, NameId actual) {
  double sum = 0.0;
  double squares = 0.0;
  bool is_named = false;
  for (const ClassProbability& one : classes) {
    const double error = one.probability - (one.label == actual ? 1.0 : 0.0);
    is_named = is_named || one.label == actual;
    squares += error * error;
    sum += one.probability;
  }
  double rest = 1.0 - sum;
  if (rest < kMissingMin) rest = 0.0;
  const double rest_error = is_named ? rest : 1.0 - rest;
  return std::min(1.0, (squares + rest_error * rest_error) / 2.0);
}

bool takes_part(double weight) { return weight > 0.0 && std::isfinite(weight); }

}  // namespace

Majority majority_of(const Decision& decision) {
  struct Count {
    NameId label;
    std::size_t votes;
    double confidence;
  };
  Majority out;
  Count counts[64];
  std::size_t labels = 0;
  for (const Member& member : decision.members) {
    if (member.label == kNoName) continue;
    ++out.voters;
    std::size_t at = 0;
    while (at < labels && counts[at].label != member.label) ++at;
    if (at == labels) {
      if (labels == std::size(counts)) continue;
      counts[labels++] = {member.label, 0, 0.0};
    }
    ++counts[at].votes;
    if (std::isfinite(member.confidence)) counts[at].confidence += member.confidence;
  }
  if (out.voters == 0) return out;
  const auto is_before = [](const Count& a, const Count& b) {
    if (a.votes != b.votes) return a.votes > b.votes;
    if (a.confidence != b.confidence) return a.confidence > b.confidence;
    return a.label < b.label;
  };
  const Count& first = *std::min_element(counts, counts + labels, is_before);
  out.label = first.label;
  const auto voters = static_cast<double>(out.voters);
  out.share = static_cast<double>(first.votes) / voters;
  double same = 0.0;
  for (std::size_t i = 0; i < labels; ++i) {
    const auto votes = static_cast<double>(counts[i].votes);
    out.is_tie = out.is_tie || (counts[i].votes == first.votes && &counts[i] != &first);
    same += votes * (votes - 1.0);
    if (labels > 1) {
      out.entropy -=
          votes / voters * std::log(votes / voters) / std::log(static_cast<double>(labels));
    }
  }
  if (out.voters > 1) out.pairwise = same / (voters * (voters - 1.0));
  return out;
}

void VoteCounter::add(NameId label, double amount) {
  for (ClassProbability& one : scores_) {
    if (one.label != label) continue;
    one.probability += amount;
    return;
  }
  scores_.push_back({label, amount});
}

WeightedVote VoteCounter::count(const Decision& decision, std::span<const double> weights,
                                std::size_t without) {
  scores_.clear();
  WeightedVote out;
  double total = 0.0;
  bool is_soft = true;
  for (std::size_t k = 0; k < decision.members.size(); ++k) {
    if (k == without || !takes_part(weights[k])) continue;
    const Member& member = decision.members[k];
    if (member.label == kNoName && member.class_count == 0) continue;
    total += weights[k];
    is_soft = is_soft && member.class_count > 1 && has_probabilities(decision, member);
  }
  if (total <= 0.0) return out;
  for (std::size_t k = 0; k < decision.members.size(); ++k) {
    if (k == without || !takes_part(weights[k])) continue;
    const Member& member = decision.members[k];
    const double weight = weights[k] / total;
    if (is_soft) {
      for (const ClassProbability& one : classes_of(decision, member)) {
        add(one.label, weight * one.probability);
      }
    } else if (member.label != kNoName) {
      add(member.label, weight);
    }
  }
  std::sort(
      scores_.begin(), scores_.end(), [](const ClassProbability& a, const ClassProbability& b) {
        return a.probability != b.probability ? a.probability > b.probability : a.label < b.label;
      });
  if (scores_.empty()) return out;
  out.label = scores_[0].label;
  out.score = scores_[0].probability;
  out.margin = out.score - (scores_.size() > 1 ? scores_[1].probability : 0.0);
  out.is_soft = is_soft;
  return out;
}

bool has_probabilities(const Decision& decision, const Member& member) {
  if (member.class_count == 0) return false;
  double sum = 0.0;
  for (const ClassProbability& one : classes_of(decision, member)) {
    if (!(one.probability >= 0.0 && one.probability <= 1.0)) return false;
    sum += one.probability;
  }
  return sum <= kSumMax;
}

double brier_loss(const Decision& decision, const Member& member, NameId actual) {
  return half_brier(classes_of(decision, member), actual);
}

double mixed_brier_loss(const Decision& decision, std::span<const double> weights, NameId actual,
                        std::vector<ClassProbability>& scratch) {
  scratch.clear();
  for (std::size_t k = 0; k < decision.members.size(); ++k) {
    if (!takes_part(weights[k])) continue;
    for (const ClassProbability& one : classes_of(decision, decision.members[k])) {
      auto at = std::find_if(scratch.begin(), scratch.end(),
                             [&](const ClassProbability& s) { return s.label == one.label; });
      if (at == scratch.end()) at = scratch.insert(at, {one.label, 0.0});
      at->probability += weights[k] * one.probability;
    }
  }
  return half_brier(scratch, actual);
}

}  // namespace ephor::ensemble_tracker
