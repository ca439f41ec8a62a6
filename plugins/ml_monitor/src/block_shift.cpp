// SPDX-License-Identifier: Apache-2.0
#include "block_shift.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ephor::ml_monitor {
namespace {

constexpr double kSpreadFloor = 1e-9;

struct StratumMean {
  std::uint16_t stratum = 0;
  std::uint64_t count = 0;
  double sum = 0.0;
  std::uint64_t current_count = 0;
  double current_sum = 0.0;
  double current_squares = 0.0;
  double mean() const { return sum / static_cast<double>(count); }
};

class Strata {
 public:
  explicit Strata(bool are_ignored) : are_ignored_(are_ignored) {}
  void add(const StratumSum& part) {
    StratumMean& at = place(part.stratum);
    at.count += part.count;
    at.sum += part.sum;
  }
  const StratumMean* find(std::uint16_t stratum, std::uint64_t count_min) const {
    if (are_ignored_) stratum = 0;
    for (const StratumMean& mean : all()) {
      if (mean.stratum == stratum) return mean.count >= count_min ? &mean : nullptr;
    }
    return nullptr;
  }
  void count_current(const ShiftBlock& block, std::uint64_t count_min) {
    for (const StratumSum& part : block.parts()) {
      StratumMean& mean = place(part.stratum);
      if (mean.count < count_min) continue;
      mean.current_count += part.count;
      mean.current_sum += part.sum;
      mean.current_squares += part.squares;
    }
  }
  std::span<const StratumMean> all() const { return {means_.data(), count_}; }

 private:
  StratumMean& place(std::uint16_t stratum) {
    if (are_ignored_) stratum = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (means_[i].stratum == stratum) return means_[i];
    }
    if (count_ == means_.size()) return dropped_;
    means_[count_].stratum = stratum;
    return means_[count_++];
  }
  bool are_ignored_;
  std::array<StratumMean, 64> means_{};
  std::size_t count_ = 0;
  StratumMean dropped_;  // of strata beyond the bound
};

struct Residual {
  double mean = 0.0;
  std::uint64_t count = 0;
};

// The block less what its strata are in the reference.
std::optional<Residual> residual_of(const ShiftBlock& block, const Strata& reference,
                                    const ShiftLimits& limits) {
  Residual out;
  for (const StratumSum& part : block.parts()) {
    const StratumMean* const known = reference.find(part.stratum, limits.stratum_count_min);
    if (known == nullptr) continue;
    out.mean += part.sum - static_cast<double>(part.count) * known->mean();
    out.count += part.count;
  }
  if (out.count < limits.block_count_min) return std::nullopt;
  out.mean /= static_cast<double>(out.count);
  return out;
}

}  // namespace

std::optional<Shift> shift_at(std::span<const ShiftBlock> blocks, std::size_t k,
                              const ShiftLimits& limits) {
  if (blocks.size() < limits.reference_min + k) return std::nullopt;
  const auto older = blocks.first(blocks.size() - k);
  const auto newer = blocks.last(k);
  Strata reference(limits.ignores_strata);
  for (const ShiftBlock& block : older) {
    if (block.is_excluded) continue;
    for (const StratumSum& part : block.parts()) reference.add(part);
  }
  Shift out;
  out.k = k;
  double squares = 0.0;
  double products = 0.0;
  std::size_t pairs = 0;
  std::optional<double> before;
  for (const ShiftBlock& block : older) {
    if (block.is_excluded) continue;
    const auto residual = residual_of(block, reference, limits);
    if (!residual) {
      before.reset();
      continue;
    }
    ++out.reference_blocks;
    out.reference_count += residual->count;
    squares += residual->mean * residual->mean;
    if (before) {
      products += *before * residual->mean;
      ++pairs;
    }
    before = residual->mean;
  }
  if (out.reference_blocks < limits.reference_min) return std::nullopt;
  double sum = 0.0;
  for (const ShiftBlock& block : newer) {
    if (block.is_excluded && !limits.counts_excluded) continue;
    const auto residual = residual_of(block, reference, limits);
    if (!residual) continue;
    ++out.current_blocks;
    out.current_count += residual->count;
    sum += residual->mean;
    reference.count_current(block, limits.stratum_count_min);
  }
  // Most of the newer blocks must say something, or the onset is not where it seems.
  if (out.current_blocks * 3 < k * 2) return std::nullopt;

  std::uint64_t count = 0;
  for (const StratumMean& mean : reference.all()) {
    count += mean.count;
    out.reference_mean += mean.sum;
  }
  out.reference_mean /= static_cast<double>(count);
  const double n = static_cast<double>(out.reference_blocks);
  const double m = static_cast<double>(out.current_blocks);
  const double variance = squares / (n - 1.0);
  if (pairs > 0 && squares > 0.0) {
    // Estimated from few blocks it comes out too small by about (1 + 3a) / n (Kendall 1954).
    const double raw = products / static_cast<double>(pairs) / (squares / n);
    out.autocorrelation = std::clamp(raw + (1.0 + 3.0 * raw) / n, 0.0, 0.999);
  }
  if (out.autocorrelation > limits.autocorrelation_max) return std::nullopt;
  const double widening = (1.0 + out.autocorrelation) / (1.0 - out.autocorrelation);
  // How well the reference is known counts by stratum, as the current side is made of them; in
  // blocks of the usual size. With one stratum it is 1 / n.
  const double block_count = static_cast<double>(out.reference_count) / n;
  double reference_share = 0.0;
  double current_spread = 0.0;  // sum of squared deviations within strata
  std::size_t current_strata = 0;
  for (const StratumMean& mean : reference.all()) {
    if (mean.current_count == 0) continue;
    const double share =
        static_cast<double>(mean.current_count) / static_cast<double>(out.current_count);
    ++current_strata;
    current_spread +=
        std::max(0.0, mean.current_squares - mean.current_sum * mean.current_sum /
                                                 static_cast<double>(mean.current_count));
    reference_share += share * share * block_count / static_cast<double>(mean.count);
  }
  double of_current = variance / m;
  if (out.current_count > current_strata) {
    const double n_current = static_cast<double>(out.current_count);
    of_current = std::max(
        of_current, current_spread / n_current / (n_current - static_cast<double>(current_strata)));
  }
  out.standard_error =
      std::max(kSpreadFloor, std::sqrt(widening * (variance * reference_share + of_current)));
  out.difference = sum / m;
  // Blocks that depend on each other know the spread as badly as fewer independent ones.
  const double degrees = std::max(1.0, n / widening - 1.0);
  out.z = deviate_of_student(out.difference / out.standard_error, degrees);
  return out;
}

std::optional<Shift> greatest_shift(std::span<const ShiftBlock> blocks, Direction direction,
                                    const ShiftLimits& limits, double deviate) {
  const auto signed_z = [&](const Shift& shift) {
    if (direction == Direction::kBoth) return std::abs(shift.z);
    return direction == Direction::kUp ? shift.z : -shift.z;
  };
  std::optional<Shift> best;
  const auto try_at = [&](std::size_t k) {
    const auto shift = shift_at(blocks, k, limits);
    if (shift && (!best || signed_z(*shift) > signed_z(*best))) best = shift;
  };
  try_at(limits.k_min);
  try_at(limits.k_max);
  const double hidden =
      std::sqrt(static_cast<double>(limits.k_max) / static_cast<double>(limits.k_min));
  if (deviate > 0.0 && (!best || signed_z(*best) < deviate / hidden)) return best;
  for (std::size_t k = limits.k_min + 1; k < limits.k_max; ++k) try_at(k);
  return best;
}

std::size_t clearest_onset(std::span<const ShiftBlock> blocks, Direction direction,
                           const ShiftLimits& limits) {
  ShiftLimits all = limits;
  all.k_min = 1;
  const auto best = greatest_shift(blocks, direction, all);
  return best ? best->k : limits.k_min;
}

double deviate_limit(double budget, std::size_t trials) {
  const double tail = budget / 10'000.0 / static_cast<double>(std::max<std::size_t>(trials, 1));
  return normal_deviate(std::clamp(tail, 1e-15, 0.5));
}

double normal_tail(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

double normal_deviate(double tail) {
  double low = 0.0;
  double high = 10.0;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2.0;
    (normal_tail(middle) > tail ? low : high) = middle;
  }
  return (low + high) / 2.0;
}

double deviate_of_student(double t, double degrees) {
  const double size = (8.0 * degrees + 1.0) / (8.0 * degrees + 3.0) *
                      std::sqrt(degrees * std::log1p(t * t / degrees));
  return std::copysign(size, t);
}

}  // namespace ephor::ml_monitor
