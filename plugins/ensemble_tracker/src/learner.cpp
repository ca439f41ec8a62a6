// SPDX-License-Identifier: Apache-2.0
#include "learner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ephor::ensemble_tracker {

void WeightHistory::add(std::int64_t time_ns, std::span<const double> weights) {
  latest_.time_ns = time_ns;
  latest_.weights.assign(weights.begin(), weights.end());
  if (seen_++ % stride_ != 0) return;
  if (points_.size() >= bound_) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < points_.size(); i += 2) std::swap(points_[kept++], points_[i]);
    points_.resize(kept);
    stride_ *= 2;
    if ((seen_ - 1) % stride_ != 0) return;
  }
  points_.push_back(latest_);
}

void WeightHistory::write(StateWriter& out) const {
  const auto put = [&](const Point& point) {
    out.i64(point.time_ns).varint(point.weights.size());
    for (const double weight : point.weights) out.f64(weight);
  };
  out.varint(seen_).varint(stride_).varint(points_.size());
  for (const Point& point : points_) put(point);
  put(latest_);
}

void WeightHistory::read(StateReader& in) {
  const auto take = [&](Point& point) {
    point.time_ns = in.i64();
    point.weights.resize(in.count(8));
    for (double& weight : point.weights) weight = in.f64();
  };
  seen_ = in.varint();
  stride_ = std::max<std::uint64_t>(1, in.varint());
  points_.resize(in.count(9));
  for (Point& point : points_) take(point);
  take(latest_);
}

void Learner::grow(std::size_t slot_count) {
  while (sent_ledger_.experts().size() < slot_count) {
    sent_ledger_.join();
    own_ledger_.join();
    rule_.join();
  }
}

double Learner::add(const Decision& decision, std::span<const std::size_t> slots,
                    std::span<const double> sent) {
  const std::size_t experts = slot_count();
  losses_.assign(experts, 0.0);
  awake_.assign(experts, 0);
  bool is_brier = true;
  bool is_common = true;
  bool is_anyone = false;
  NameId common = kNoName;
  for (std::size_t k = 0; k < slots.size(); ++k) {
    const Member& member = decision.members[k];
    const NameId actual = decision.actual_of(member);
    if (slots[k] >= experts || actual == kNoName) continue;
    if (member.label == kNoName && member.class_count == 0) continue;
    awake_[slots[k]] = 1;
    is_anyone = true;
    is_brier = is_brier && has_probabilities(decision, member);
    is_common = is_common && (common == kNoName || common == actual);
    common = actual;
  }
  if (!is_anyone) return kUnknown;
  for (std::size_t k = 0; k < slots.size(); ++k) {
    if (slots[k] >= experts || awake_[slots[k]] == 0) continue;
    const Member& member = decision.members[k];
    const NameId actual = decision.actual_of(member);
    losses_[slots[k]] =
        is_brier ? brier_loss(decision, member, actual) : (member.label == actual ? 0.0 : 1.0);
  }
  if (is_brier) ++brier_rounds_;

  // A mix of forecasts is at most as bad as a draw by the weights (the loss is convex); where
  // members name different classes that need not come out, and the draw counts.
  const auto own_loss = [&](std::span<const double> by_slot) {
    const double drawn = aggregation::mix(by_slot, losses_);
    if (!is_brier || !is_common) return drawn;
    member_weights_.assign(slots.size(), 0.0);
    for (std::size_t k = 0; k < slots.size(); ++k) {
      if (slots[k] < experts && awake_[slots[k]] != 0) member_weights_[k] = by_slot[slots[k]];
    }
    return std::min(drawn, mixed_brier_loss(decision, member_weights_, common, scratch_));
  };

  double sent_loss = kUnknown;
  slot_weights_.assign(experts, 0.0);
  double total = 0.0;
  for (std::size_t k = 0; k < slots.size(); ++k) {
    if (slots[k] >= experts || awake_[slots[k]] == 0 || !(sent[k] > 0.0)) continue;
    slot_weights_[slots[k]] = sent[k];
    total += sent[k];
  }
  if (total > 0.0 && std::isfinite(total)) {
    for (double& weight : slot_weights_) weight /= total;
    sent_loss = own_loss(slot_weights_);
    sent_ledger_.add(losses_, sent_loss, awake_);
  }
  if (!is_enabled_) return kUnknown;
  rule_.weights(awake_, slot_weights_);
  const double loss = own_loss(slot_weights_);
  own_ledger_.add(losses_, loss, awake_);
  rule_.update(losses_, loss, awake_);
  rule_.weights({}, slot_weights_);
  history_.add(decision.answer_ns(), slot_weights_);
  return sent_loss - loss;
}

std::vector<double> Learner::weights() const {
  std::vector<double> out(rule_.expert_count());
  rule_.weights({}, out);
  return out;
}

void Learner::member_weights(std::span<const std::size_t> slots, std::vector<double>& out) const {
  const std::vector<double> all = weights();
  out.assign(slots.size(), kUnknown);
  for (std::size_t k = 0; k < slots.size(); ++k) {
    if (slots[k] < all.size()) out[k] = all[slots[k]];
  }
}

double Learner::worst_excess() const {
  double worst = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < own_ledger_.experts().size(); ++k) {
    if (own_ledger_.experts()[k].rounds == 0) continue;
    worst = std::max(worst, own_ledger_.experts()[k].regret() - own_ledger_.bound(settings(), k));
  }
  return worst;
}

void Learner::write(StateWriter& out) const {
  rule_.write(out);
  own_ledger_.write(out);
  sent_ledger_.write(out);
  history_.write(out);
  out.varint(brier_rounds_);
}

void Learner::read(StateReader& in) {
  rule_.read(in);
  own_ledger_.read(in);
  sent_ledger_.read(in);
  history_.read(in);
  brier_rounds_ = in.varint();
  if (rule_.expert_count() != sent_ledger_.experts().size() ||
      rule_.expert_count() != own_ledger_.experts().size()) {
    throw Error(EPHOR_INVALID, "state: experts that do not fit");
  }
}

}  // namespace ephor::ensemble_tracker
