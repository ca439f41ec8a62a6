// SPDX-License-Identifier: Apache-2.0
//
// Online aggregation of experts: weights that learn from losses, with the regret they have and the
// bound the theory prints for it. Standard library only; plain numbers in and out.
//
//   ExponentialWeights rule({.learning_rate = 1.0, .share = 0.01}, 3);   // the weights
//   RegretLedger ledger(3);                                              // what they are worth
//   rule.weights(awake, weights);             // before the outcome is seen
//   const double own = mix(weights, losses);  // or the loss of the mixed forecast
//   rule.update(losses, own, awake);
//   ledger.add(losses, own, awake);
//
// A rule is a class with weights(awake, out), update(losses, own_loss, awake), join(), leave(k),
// write and read. All rules learn from the same numbers, the instant regrets own_loss - losses[k],
// so another rule (MLpol, BOA, ...) is another class beside ExponentialWeights and nothing else.
//
// Sleeping experts: `awake` has one entry per expert, 0 = asleep, or is empty = all awake. Who
// sleeps has weight 0, and its standing changes no more than if it had the loss of the mix (Freund,
// Schapire, Singer & Warmuth 1997, STOC). A loss that is not finite puts its expert to sleep for
// that round; an own loss that is not finite skips the round.
//
// Losses should lie in [0, 1]. Others are taken as they are: the weights stay valid, and the bound
// counts such a round with its own range instead of 1, so that it holds for any data.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace ephor::aggregation {

// ---- losses of one number

enum class LossKind : std::uint8_t { square, absolute, percentage, pinball };

struct Loss {
  LossKind kind = LossKind::square;
  double tau = 0.5;  // of the pinball loss: the quantile

  double operator()(double forecast, double outcome) const {
    const double error = forecast - outcome;
    switch (kind) {
      case LossKind::square:
        return error * error;
      case LossKind::absolute:
        return std::abs(error);
      case LossKind::percentage:
        return std::abs(error) / outcome;
      case LossKind::pinball:
        return error < 0 ? -tau * error : (1.0 - tau) * error;
    }
    return 0.0;
  }
  // The derivative (a subgradient where there is none) by the forecast.
  double slope(double forecast, double outcome) const {
    const double error = forecast - outcome;
    const double sign = error > 0 ? 1.0 : (error < 0 ? -1.0 : 0.0);
    switch (kind) {
      case LossKind::square:
        return 2.0 * error;
      case LossKind::absolute:
        return sign;
      case LossKind::percentage:
        return sign / outcome;
      case LossKind::pinball:
        return (error > 0 ? 1.0 : 0.0) - tau;
    }
    return 0.0;
  }
};

// sum of weights[k] * values[k]; a weight of 0 silences a value that is not finite.
inline double mix(std::span<const double> weights, std::span<const double> values) {
  double sum = 0.0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    if (weights[k] != 0.0) sum += weights[k] * values[k];
  }
  return sum;
}

// The gradient trick: the experts' losses are replaced by slope * forecast, so that the regret is
// measured against the best fixed mix instead of the best expert (Cesa-Bianchi & Lugosi 2006,
// section 2.5). Returns the mix's own linearised loss, to be given to update beside `losses`.
inline double gradient_losses(const Loss& loss, std::span<const double> forecasts, double mixed,
                              double outcome, std::span<double> losses) {
  const double slope = loss.slope(mixed, outcome);
  for (std::size_t k = 0; k < forecasts.size(); ++k) losses[k] = slope * forecasts[k];
  return slope * mixed;
}

inline bool is_awake(std::span<const std::uint8_t> awake, std::size_t expert) {
  return awake.empty() || awake[expert] != 0;
}

// ---- rules

// Exponentially weighted average (Hedge), with Herbster & Warmuth's fixed share where share > 0.
//
// w_k ~ exp(learning_rate * R_k) over the awake, R the sum of instant regrets; fixed share mixes
// share/N into the normalised weights after each round, so that the weights follow a best expert
// that changes. Starts uniform.
//
// O(experts), no allocation but in join. Not thread-safe.
class ExponentialWeights {
 public:
  struct Settings {
    double learning_rate = 1.0;  // > 0
    double share = 0.0;          // [0, 1)
  };

  explicit ExponentialWeights(const Settings& settings, std::size_t expert_count = 0)
      : settings_(settings), scores_(expert_count, 0.0) {}

  const Settings& settings() const { return settings_; }
  std::size_t expert_count() const { return scores_.size(); }

  // `out`: one weight per expert, sum 1; all 0 if nobody is awake.
  void weights(std::span<const std::uint8_t> awake, std::span<double> out) const {
    double top = -std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < scores_.size(); ++k) {
      if (is_awake(awake, k)) top = std::max(top, scores_[k]);
    }
    double sum = 0.0;
    for (std::size_t k = 0; k < scores_.size(); ++k) {
      out[k] = is_awake(awake, k) ? std::exp(settings_.learning_rate * (scores_[k] - top)) : 0.0;
      sum += out[k];
    }
    if (sum == 0.0) return;
    for (std::size_t k = 0; k < scores_.size(); ++k) out[k] /= sum;
  }

  void update(std::span<const double> losses, double own_loss,
              std::span<const std::uint8_t> awake = {}) {
    if (!std::isfinite(own_loss)) return;
    for (std::size_t k = 0; k < scores_.size(); ++k) {
      if (is_awake(awake, k) && std::isfinite(losses[k])) scores_[k] += own_loss - losses[k];
    }
    if (settings_.share > 0.0) mix_shares();
    recentre();
  }

  // A new expert, at the end, with weight 1/N of the N there are then.
  std::size_t join() {
    double score = 0.0;
    if (!scores_.empty()) {
      const double rate = settings_.learning_rate;
      const double top = *std::max_element(scores_.begin(), scores_.end());
      double sum = 0.0;
      for (const double one : scores_) sum += std::exp(rate * (one - top));
      score = top + std::log(sum / static_cast<double>(scores_.size())) / rate;
    }
    scores_.push_back(score);
    return scores_.size() - 1;
  }
  // Those behind move up; what it had falls to the others in proportion.
  void leave(std::size_t expert) {
    scores_.erase(scores_.begin() + static_cast<std::ptrdiff_t>(expert));
  }

  // Writer and Reader as in <ephor/state.hpp>. The settings are not part of the state.
  template <typename Writer>
  void write(Writer& out) const {
    out.varint(scores_.size());
    for (const double score : scores_) out.f64(score);
  }
  template <typename Reader>
  void read(Reader& in) {
    scores_.assign(in.count(8), 0.0);
    for (double& score : scores_) score = in.f64();
  }

 private:
  void mix_shares() {
    if (scores_.empty()) return;
    const double rate = settings_.learning_rate;
    const double least = settings_.share / static_cast<double>(scores_.size());
    const double top = *std::max_element(scores_.begin(), scores_.end());
    double sum = 0.0;
    for (double& score : scores_) sum += score = std::exp(rate * (score - top));
    for (double& score : scores_) {
      score = std::log(least + (1.0 - settings_.share) * score / sum) / rate;
    }
  }
  // Only differences matter. Kept small, sums of a million regrets lose no digits.
  void recentre() {
    if (scores_.empty()) return;
    const double top = *std::max_element(scores_.begin(), scores_.end());
    for (double& score : scores_) score -= top;
  }

  Settings settings_;
  std::vector<double> scores_;  // log weights / learning rate, up to a constant
};

// ---- regret

// Regret of exponential weights against one fixed expert (Cesa-Bianchi & Lugosi 2006, theorems 2.2
// and 5.1-5.2, section 2.1 for losses of another range):
//   ln(1/prior)/eta + eta/8 * sum of squared ranges + (T-1)/eta * ln(1/(1-share))
// `squared_ranges`: T for losses in [0, 1].
inline double static_regret_bound(const ExponentialWeights::Settings& settings, double log_prior,
                                  double squared_ranges, double rounds) {
  const double eta = settings.learning_rate;
  const double shared = settings.share > 0.0 ? -std::log1p(-settings.share) / eta : 0.0;
  return -log_prior / eta + eta * squared_ranges / 8.0 + shared * std::max(0.0, rounds - 1.0);
}
// Against the best sequence of experts with `shifts` changes (fixed share; infinite without it).
inline double shifting_regret_bound(const ExponentialWeights::Settings& settings,
                                    std::size_t expert_count, double rounds, double shifts) {
  const double eta = settings.learning_rate;
  const double alpha = settings.share;
  if (alpha <= 0.0 && shifts > 0) return std::numeric_limits<double>::infinity();
  const double stay = std::max(0.0, rounds - shifts - 1.0);
  const double code = shifts * (alpha > 0.0 ? -std::log(alpha) : 0.0) - stay * std::log1p(-alpha);
  return ((shifts + 1.0) * std::log(static_cast<double>(expert_count)) + code) / eta +
         eta * rounds / 8.0;
}

// What a mix lost against each of its experts. Belongs to no rule: it judges the weights that a
// client sends as well as ours.
class RegretLedger {
 public:
  struct Expert {
    double loss = 0.0;      // over the rounds it was awake in
    double own_loss = 0.0;  // of the mix in the same rounds
    std::uint64_t rounds = 0;
    double log_prior = 0.0;  // weight it began with, thinned by those who joined later

    double regret() const { return own_loss - loss; }
  };

  explicit RegretLedger(std::size_t expert_count = 0) {
    while (experts_.size() < expert_count) join();
  }

  void add(std::span<const double> losses, double own_loss,
           std::span<const std::uint8_t> awake = {}) {
    if (!std::isfinite(own_loss)) return;
    double low = own_loss;
    double high = own_loss;
    bool is_round = false;
    for (std::size_t k = 0; k < experts_.size(); ++k) {
      if (!is_awake(awake, k) || !std::isfinite(losses[k])) continue;
      experts_[k].loss += losses[k];
      experts_[k].own_loss += own_loss;
      ++experts_[k].rounds;
      low = std::min(low, losses[k]);
      high = std::max(high, losses[k]);
      is_round = true;
    }
    if (!is_round) return;
    ++rounds_;
    own_loss_ += own_loss;
    const bool is_unit = low >= 0.0 && high <= 1.0;
    if (!is_unit) ++outside_unit_;
    const double range = is_unit ? 1.0 : std::max(1.0, high - low);
    squared_ranges_ += range * range;
  }

  std::size_t join() {
    const double now = static_cast<double>(experts_.size()) + 1.0;
    for (Expert& expert : experts_) expert.log_prior += std::log((now - 1.0) / now);
    experts_.push_back({0.0, 0.0, 0, -std::log(now)});
    return experts_.size() - 1;
  }
  void leave(std::size_t expert) {
    experts_.erase(experts_.begin() + static_cast<std::ptrdiff_t>(expert));
  }

  static constexpr std::size_t kNobody = SIZE_MAX;
  // The expert with the greatest regret; kNobody before the first round.
  std::size_t best_expert() const {
    std::size_t best = kNobody;
    for (std::size_t k = 0; k < experts_.size(); ++k) {
      if (experts_[k].rounds == 0) continue;
      if (best == kNobody || experts_[k].regret() > experts_[best].regret()) best = k;
    }
    return best;
  }
  const std::vector<Expert>& experts() const { return experts_; }
  std::uint64_t rounds() const { return rounds_; }
  double own_loss() const { return own_loss_; }
  std::uint64_t rounds_outside_unit() const { return outside_unit_; }
  // What ExponentialWeights guarantees against `expert`, if own losses are at most the weighted
  // mean of the experts' (true for a mixed forecast under a convex loss).
  double bound(const ExponentialWeights::Settings& settings, std::size_t expert) const {
    return static_regret_bound(settings, experts_[expert].log_prior, squared_ranges_,
                               static_cast<double>(rounds_));
  }

  template <typename Writer>
  void write(Writer& out) const {
    out.varint(experts_.size());
    for (const Expert& expert : experts_) {
      out.f64(expert.loss).f64(expert.own_loss).varint(expert.rounds).f64(expert.log_prior);
    }
    out.varint(rounds_).varint(outside_unit_).f64(own_loss_).f64(squared_ranges_);
  }
  template <typename Reader>
  void read(Reader& in) {
    experts_.assign(in.count(25), Expert());
    for (Expert& expert : experts_) {
      expert.loss = in.f64();
      expert.own_loss = in.f64();
      expert.rounds = in.varint();
      expert.log_prior = in.f64();
    }
    rounds_ = in.varint();
    outside_unit_ = in.varint();
    own_loss_ = in.f64();
    squared_ranges_ = in.f64();
  }

 private:
  std::vector<Expert> experts_;
  std::uint64_t rounds_ = 0;
  std::uint64_t outside_unit_ = 0;
  double own_loss_ = 0.0;
  double squared_ranges_ = 0.0;
};

}  // namespace ephor::aggregation
