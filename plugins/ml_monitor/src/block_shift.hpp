// SPDX-License-Identifier: Apache-2.0
//
// Has a figure shifted in the newest blocks? A two-sample test on means of blocks, made for streams
// that depend on themselves and on a regime:
//  - blocks of some 30 observations instead of observations: what depends on its neighbours inside
//    a block does no harm (batch means); what still does is taken into account by the lag-1
//    autocorrelation of the reference blocks, which widens the error by (1 + a) / (1 - a);
//  - each observation is compared within its stratum (a market regime): a stratum that the
//    reference hardly knows says nothing, and one it knows badly widens the error;
//  - every onset from `k_min` to `k_max` blocks back is tried (as in a generalised likelihood ratio
//    test), and the limit pays for all of them;
//  - the newer side's own spread counts where it is greater: a model that nearly always agrees with
//    its peers has a calm past, and a day on which they differ is not yet evidence;
//  - Student's law, because a short reference knows its own spread badly.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ephor::ml_monitor {

// The part of a block that lies in one stratum.
struct StratumSum {
  std::uint16_t stratum = 0;
  std::uint32_t count = 0;
  double sum = 0.0;
  double squares = 0.0;

  // One figure for a whole block: no spread inside it.
  static StratumSum level(std::uint16_t stratum, std::uint32_t count, double value) {
    return {stratum, count, value * count, value * value * count};
  }
};

// Observations beyond the bound of strata in one block are left out of it.
class ShiftBlock {
 public:
  static constexpr std::size_t kPartsMax = 8;

  bool is_excluded = false;  // belongs to an open finding: no part of any reference

  // None: the block says nothing about this figure.
  std::span<const StratumSum> parts() const { return {parts_.data(), count_}; }
  void add(std::uint16_t stratum, double value) { add({stratum, 1, value, value * value}); }
  void add(const StratumSum& sum) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (parts_[i].stratum != sum.stratum) continue;
      parts_[i].count += sum.count;
      parts_[i].sum += sum.sum;
      parts_[i].squares += sum.squares;
      return;
    }
    if (count_ < kPartsMax) parts_[count_++] = sum;
  }

 private:
  std::array<StratumSum, kPartsMax> parts_{};
  std::uint8_t count_ = 0;
};

struct ShiftLimits {
  std::size_t reference_min = 12;  // blocks
  std::size_t k_min = 3;
  std::size_t k_max = 12;
  std::uint32_t block_count_min = 15;    // observations that make a block count
  std::uint32_t stratum_count_min = 30;  // observations of the reference that make a stratum known
  bool ignores_strata = false;           // all observations are of one stratum
  bool counts_excluded = false;          // newer blocks that are excluded say nothing either
  double autocorrelation_max = 0.9;      // a figure that wanders more has no level to shift from
};

struct Shift {
  std::size_t k = 0;  // newest blocks that are the current side
  std::size_t reference_blocks = 0;
  std::size_t current_blocks = 0;
  std::uint64_t reference_count = 0;
  std::uint64_t current_count = 0;
  double reference_mean = 0.0;  // over all its observations, strata together
  double difference = 0.0;      // current less reference, within strata
  double standard_error = 0.0;
  double autocorrelation = 0.0;
  double z = 0.0;  // the t statistic as the normal deviate of the same tail

  double low() const { return difference - kZ95 * standard_error; }
  double high() const { return difference + kZ95 * standard_error; }
  static constexpr double kZ95 = 1.959963984540054;
};

// The newest k blocks against all older ones that are not excluded. Empty: too little is known.
// `blocks` oldest first. O(blocks * strata).
std::optional<Shift> shift_at(std::span<const ShiftBlock> blocks, std::size_t k,
                              const ShiftLimits& limits);

enum class Direction : std::uint8_t { kUp, kDown, kBoth };

// The onset with the greatest deviation in that direction. The shortest and the longest are tried
// first, and the others only if one of the two reaches `deviate` less what a wrong onset can hide
// (a factor of sqrt(k_max / k_min)); 0 tries all.
std::optional<Shift> greatest_shift(std::span<const ShiftBlock> blocks, Direction direction,
                                    const ShiftLimits& limits, double deviate = 0.0);

// From which of the newest blocks on (1 to k_max back) the shift is clearest, once it is known that
// there is one.
std::size_t clearest_onset(std::span<const ShiftBlock> blocks, Direction direction,
                           const ShiftLimits& limits);

// The deviate that `budget` false alarms in 10,000 blocks allow, shared among `trials` per block.
double deviate_limit(double budget, std::size_t trials);

// Upper tail of the standard normal, and its inverse for tails in (0, 0.5].
double normal_tail(double z);
double normal_deviate(double tail);
// Wallace (1959): the normal deviate whose tail is that of Student's t; good to some hundredths.
double deviate_of_student(double t, double degrees);

}  // namespace ephor::ml_monitor
