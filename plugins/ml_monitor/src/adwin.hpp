// SPDX-License-Identifier: Apache-2.0
//
// ADWIN: a window over a stream of numbers that forgets its old part when its mean has changed.
//
// Bifet & Gavalda (2007), SIAM SDM, in the form of MOA: buckets of 1, 2, 4, ... values in an
// exponential histogram; every `clock` values each boundary between two buckets is tried as a cut.
// (Some later implementations skip the newest bucket of each row and find changes much later.) An
// alarm empties the window before the next value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

namespace ephor::ml_monitor {

class Adwin {
 public:
  struct Limits {
    double delta = 0.002;  // bound on the chance of a false cut, for independent values
    std::uint32_t clock = 32;
    std::uint32_t buckets_max = 5;  // of one size, before two of them are merged
    std::uint32_t side_min = 5;     // least values on each side of a cut
    std::uint32_t grace = 10;       // no cut is tried in a window this short
  };

  Adwin() = default;
  explicit Adwin(const Limits& limits) : limits_(limits) {}

  // True where the mean has changed. O(log(width)) amortised, O(log(width)) memory.
  bool update(double value);

  std::uint64_t width() const { return width_; }
  double mean() const { return width_ == 0 ? 0.0 : total_ / static_cast<double>(width_); }
  // Of the last alarm: what was left minus what was dropped.
  double last_change() const { return last_change_; }

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Bucket {
    double total = 0.0;
    double variance = 0.0;  // sum of squared deviations
  };
  using Row = std::vector<Bucket>;  // of one size, oldest first

  void insert(double value);
  void compress();
  bool shrink();
  // True at the first cut whose sides differ.
  bool has_cut() const;
  void drop_oldest();

  Limits limits_;
  std::vector<Row> rows_;  // row i holds buckets of 2^i values
  std::uint64_t ticks_ = 0;
  std::uint64_t width_ = 0;
  double total_ = 0.0;
  double variance_ = 0.0;
  double last_change_ = 0.0;
  bool is_alarmed_ = false;
};

}  // namespace ephor::ml_monitor
