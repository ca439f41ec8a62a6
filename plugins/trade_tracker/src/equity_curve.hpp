// SPDX-License-Identifier: Apache-2.0
//
// Cumulative realised P&L by time of close. The latest points are held one by one, so late closes
// and corrections fall into place; older ones are folded into a base (sum, peak, deepest drawdown
// and a thinned curve) when the bound is reached. What arrives for the folded part is added to the
// base and counted: totals stay exact, the shape before the fold does not change any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <optional>
#include <vector>

#include "exact_sum.hpp"

namespace ephor::trade_tracker {

struct EquityPoint {
  std::int64_t time_ns = 0;
  double equity = 0.0;  // P&L realised up to and with this time
};

struct Drawdown {
  double amount = 0.0;  // peak less trough, >= 0; the first peak is 0, before any trade
  std::int64_t peak_ns = 0;
  std::int64_t trough_ns = 0;
};

class EquityCurve {
 public:
  static constexpr std::size_t kFoldedPointsMax = 512;

  explicit EquityCurve(std::size_t points_max) : points_max_(points_max) {}

  // `key` orders closes at the same time and finds the point again.
  void add(std::int64_t close_ns, std::uint64_t key, double pnl);
  void remove(std::int64_t close_ns, std::uint64_t key, double pnl);

  bool is_empty() const { return closes_.empty() && folded_count_ == 0; }
  std::uint64_t folded_count() const { return folded_count_; }
  std::uint64_t late_count() const { return late_count_; }  // changes behind the fold
  // Empty without closes.
  std::optional<Drawdown> max_drawdown() const;
  // P&L realised before `time_ns`; empty if that lies in the folded part.
  std::optional<double> before(std::int64_t time_ns) const;
  // About `points_max` points: of each stretch its lowest and highest, and always the last.
  std::vector<EquityPoint> sampled(std::size_t points_max) const;

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Close {
    std::int64_t time_ns;
    std::uint64_t key;
    double pnl;
    friend bool operator<(const Close& a, const Close& b) {
      return a.time_ns != b.time_ns ? a.time_ns < b.time_ns : a.key < b.key;
    }
  };
  struct Walk {  // the state of going along the curve
    double equity = 0.0;
    double peak = 0.0;
    std::int64_t peak_ns = 0;
    Drawdown deepest;
    void step(std::int64_t time_ns, double equity_after);
  };

  bool is_folded(std::int64_t close_ns) const {
    return folded_count_ > 0 && close_ns <= folded_until_ns_;
  }
  void fold();
  void thin_folded();

  std::size_t points_max_;
  std::vector<Close> closes_;  // sorted
  ExactSum base_;              // P&L of what was folded
  Walk base_walk_;
  std::vector<EquityPoint> folded_;  // the thinned curve
  std::uint64_t folded_count_ = 0;
  std::int64_t folded_until_ns_ = 0;
  std::uint64_t late_count_ = 0;
};

}  // namespace ephor::trade_tracker
