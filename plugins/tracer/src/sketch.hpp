// SPDX-License-Identifier: Apache-2.0
//
// DDSketch: quantiles with bounded relative error that merge without loss.
//
// Masson, Rim, Lee (2019), "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
// Relative-Error Guarantees", PVLDB 12(12). A value x > 0 falls into bin i = ceil(log_gamma x),
// gamma = (1 + a) / (1 - a); the bin's estimate 2 gamma^i / (gamma + 1) is within a * x of every x
// in it. Bins are kept sparse and sorted, so a window of a few dozen values costs a few hundred
// bytes. Beyond `bins_max` used bins the lowest two are merged into the higher of them: which bins
// remain, and what they count, then depends on the values alone, not on their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <optional>
#include <vector>

namespace ephor::tracer {

class Sketch {
 public:
  static constexpr double kRelativeError = 0.01;
  static constexpr std::size_t kBinsMax = 2048;  // 1 ns to 292 years is 2185 bins

  Sketch() = default;
  explicit Sketch(std::size_t bins_max) : bins_max_(bins_max) {}

  // The bin of a value; values that are not above zero (and NaN) have one of their own. Taken out
  // of add, so that one logarithm serves several sketches.
  static std::uint16_t bin_of(double value);
  static double value_of(std::uint16_t bin);

  void add(double value) { add_bin(bin_of(value)); }
  void add_bin(std::uint16_t bin, std::uint64_t count = 1);
  void merge(const Sketch& other);

  std::uint64_t count() const { return count_; }
  std::size_t bin_count() const { return bins_.size(); }
  // The value of rank floor(q * (count - 1)) of the sorted values, within kRelativeError of it
  // unless it lies in a bin that was collapsed. Empty without values. q in [0, 1].
  std::optional<double> quantile(double q) const;

  // Calls `visit(bin, count)` for each used bin, lowest first.
  template <typename Visit>
  void for_each_bin(Visit&& visit) const {
    for (const std::uint64_t bin : bins_) {
      visit(static_cast<std::uint16_t>(bin >> kBinShift), bin & ((1ULL << kBinShift) - 1));
    }
  }

  void write(StateWriter& out) const;
  void read(StateReader& in);  // throws ephor::Error on what does not fit

  friend bool operator==(const Sketch& a, const Sketch& b) { return a.bins_ == b.bins_; }

 private:
  // Bin number in the high 16 bits, its count below: sorts by bin, 8 bytes each.
  static constexpr int kBinShift = 48;

  std::vector<std::uint64_t> bins_;
  std::uint64_t count_ = 0;
  std::size_t bins_max_ = kBinsMax;
};

}  // namespace ephor::tracer
