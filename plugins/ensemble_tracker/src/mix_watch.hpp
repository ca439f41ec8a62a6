// SPDX-License-Identifier: Apache-2.0
//
// Are the client's weights worse than weights learned from the same outcomes?
//
// Looks at the excess loss of each answered decision (the client's mix less ours) in windows that
// do not overlap. Found: two windows in a row whose mean is at least `limit` and at least two
// standard errors above 0; over: two in a row with a mean below half the limit. The standard error
// is Newey & West's (1987) with Bartlett weights over ten lags, because the outcomes of neighbours
// overlap. The comparison is with one fixed rule, not with the best model in hindsight, so nothing
// is selected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

namespace ephor::ensemble_tracker {

class MixWatch {
 public:
  enum class Verdict : std::uint8_t { nothing, found, over };
  struct Window {
    double mean = 0.0;
    double standard_errors = 0.0;  // mean / standard error
  };

  MixWatch(std::size_t window, double limit) : window_(window), limit_(limit) {}

  // In the order of answers. O(window) once a window.
  Verdict add(std::int64_t time_ns, double excess);

  const Window& latest() const { return latest_; }
  const Window& previous() const { return previous_; }
  std::size_t window() const { return window_; }
  double limit() const { return limit_; }
  // After `found`: where the excess probably began, by the split of both windows that fits best.
  std::int64_t onset_ns() const { return onset_ns_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Entry {
    std::int64_t time_ns;
    double excess;
  };
  Window judge() const;
  std::int64_t find_onset() const;

  std::size_t window_;
  double limit_;
  std::vector<Entry> entries_;  // the window before, then the one in hand
  std::size_t before_ = 0;      // how many are of the window before
  Window latest_;
  Window previous_;
  std::uint64_t bad_in_a_row_ = 0;
  std::uint64_t good_in_a_row_ = 0;
  std::int64_t onset_ns_ = 0;
  bool is_open_ = false;
};

}  // namespace ephor::ensemble_tracker
