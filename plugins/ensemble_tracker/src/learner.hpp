// SPDX-License-Identifier: Apache-2.0
//
// The client's weights and ours, judged against every model: one answered decision is one round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/aggregation.hpp>
#include <ephor/state.hpp>
#include <span>
#include <vector>

#include "decision.hpp"
#include "votes.hpp"

namespace ephor::ensemble_tracker {

// A history of weights with a bound. At the bound every second point goes and from then on only
// every second comes in, so that all of the time is covered evenly.
class WeightHistory {
 public:
  struct Point {
    std::int64_t time_ns = 0;
    std::vector<double> weights;  // by slot; NaN: none
  };
  explicit WeightHistory(std::size_t bound) : bound_(bound) {}
  void add(std::int64_t time_ns, std::span<const double> weights);
  const std::vector<Point>& points() const { return points_; }
  std::uint64_t seen() const { return seen_; }
  const Point& latest() const { return latest_; }
  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t bound_;
  std::vector<Point> points_;
  Point latest_;
  std::uint64_t seen_ = 0;
  std::uint64_t stride_ = 1;
};

class Learner {
 public:
  Learner(const aggregation::ExponentialWeights::Settings& settings, bool is_enabled,
          std::size_t point_bound)
      : is_enabled_(is_enabled), rule_(settings), history_(point_bound) {}

  // `slots`: the slot of each member of the decision, SIZE_MAX: none. Members with an outcome and
  // a slot are awake. The loss is half the Brier score where all of them told probabilities, else
  // 0 or 1 for the label. `sent`: the client's weights by member.
  // The weights used are those learned before this outcome.
  // Returns the loss of the client's mix less that of ours; NaN if one of them is not known.
  double add(const Decision& decision, std::span<const std::size_t> slots,
             std::span<const double> sent);
  void grow(std::size_t slot_count);  // a new slot is an expert that joins

  bool is_enabled() const { return is_enabled_; }
  std::size_t slot_count() const { return sent_ledger_.experts().size(); }
  // By slot over all experts, awake or not.
  std::vector<double> weights() const;
  // Of the members as they would vote now; NaN for members without a slot.
  void member_weights(std::span<const std::size_t> slots, std::vector<double>& out) const;

  const aggregation::ExponentialWeights::Settings& settings() const { return rule_.settings(); }
  const aggregation::RegretLedger& own() const { return own_ledger_; }
  const aggregation::RegretLedger& sent() const { return sent_ledger_; }
  const WeightHistory& history() const { return history_; }
  std::uint64_t brier_rounds() const { return brier_rounds_; }
  // The measured regret less its bound, the greatest over experts; negative while the bound holds.
  double worst_excess() const;

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  bool is_enabled_;
  aggregation::ExponentialWeights rule_;
  aggregation::RegretLedger own_ledger_;
  aggregation::RegretLedger sent_ledger_;
  WeightHistory history_;
  std::uint64_t brier_rounds_ = 0;
  // Of the round in hand.
  std::vector<double> losses_;
  std::vector<double> slot_weights_;
  std::vector<double> member_weights_;
  std::vector<std::uint8_t> awake_;
  std::vector<ClassProbability> scratch_;
};

}  // namespace ephor::ensemble_tracker
