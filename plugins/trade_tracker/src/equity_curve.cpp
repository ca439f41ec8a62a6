// SPDX-License-Identifier: Apache-2.0
#include "equity_curve.hpp"

#include <algorithm>

namespace ephor::trade_tracker {

void EquityCurve::Walk::step(std::int64_t time_ns, double equity_after) {
  equity = equity_after;
  if (equity > peak) {
    peak = equity;
    peak_ns = time_ns;
  }
  if (peak - equity > deepest.amount) deepest = {peak - equity, peak_ns, time_ns};
}

void EquityCurve::add(std::int64_t close_ns, std::uint64_t key, double pnl) {
  if (is_folded(close_ns)) {
    base_.add(pnl);
    ++late_count_;
    return;
  }
  const Close close{close_ns, key, pnl};
  closes_.insert(std::upper_bound(closes_.begin(), closes_.end(), close), close);
  if (closes_.size() > points_max_) fold();
}

void EquityCurve::remove(std::int64_t close_ns, std::uint64_t key, double pnl) {
  const Close close{close_ns, key, pnl};
  const auto at = std::lower_bound(closes_.begin(), closes_.end(), close);
  if (at != closes_.end() && at->time_ns == close_ns && at->key == key) {
    closes_.erase(at);
  } else {
    base_.add(-pnl);
    ++late_count_;
  }
}

// Folds the oldest tenth, and with it all that closed at the same instant.
void EquityCurve::fold() {
  std::size_t count = std::max<std::size_t>(1, points_max_ / 10);
  while (count < closes_.size() && closes_[count].time_ns == closes_[count - 1].time_ns) ++count;
  for (std::size_t i = 0; i < count; ++i) {
    base_.add(closes_[i].pnl);
    base_walk_.step(closes_[i].time_ns, base_.value());
    folded_.push_back({closes_[i].time_ns, base_walk_.equity});
  }
  folded_count_ += count;
  folded_until_ns_ = closes_[count - 1].time_ns;
  closes_.erase(closes_.begin(), closes_.begin() + static_cast<std::ptrdiff_t>(count));
  thin_folded();
}

// Keeps every other point, from the newest, until few enough are left.
void EquityCurve::thin_folded() {
  while (folded_.size() > kFoldedPointsMax) {
    std::vector<EquityPoint> kept;
    for (std::size_t i = (folded_.size() + 1) % 2; i < folded_.size(); i += 2) {
      kept.push_back(folded_[i]);
    }
    folded_ = std::move(kept);
  }
}

std::optional<Drawdown> EquityCurve::max_drawdown() const {
  if (is_empty()) return std::nullopt;
  Walk walk = base_walk_;
  ExactSum equity = base_;
  for (const Close& close : closes_) {
    equity.add(close.pnl);
    walk.step(close.time_ns, equity.value());
  }
  return walk.deepest;
}

std::optional<double> EquityCurve::before(std::int64_t time_ns) const {
  if (is_folded(time_ns)) return std::nullopt;
  ExactSum sum = base_;
  for (const Close& close : closes_) {
    if (close.time_ns >= time_ns) break;
    sum.add(close.pnl);
  }
  return sum.value();
}

std::vector<EquityPoint> EquityCurve::sampled(std::size_t points_max) const {
  std::vector<EquityPoint> all = folded_;
  all.reserve(all.size() + closes_.size());
  ExactSum equity = base_;
  for (const Close& close : closes_) {
    equity.add(close.pnl);
    all.push_back({close.time_ns, equity.value()});
  }
  if (all.size() <= points_max) return all;
  std::vector<EquityPoint> out;
  const std::size_t stretch_count = std::max<std::size_t>(1, points_max / 2);
  for (std::size_t stretch = 0; stretch < stretch_count; ++stretch) {
    const auto begin =
        all.begin() + static_cast<std::ptrdiff_t>(all.size() * stretch / stretch_count);
    const auto end =
        all.begin() + static_cast<std::ptrdiff_t>(all.size() * (stretch + 1) / stretch_count);
    auto [low, high] = std::minmax_element(
        begin, end, [](const EquityPoint& a, const EquityPoint& b) { return a.equity < b.equity; });
    if (high < low) std::swap(low, high);
    out.push_back(*low);
    if (high != low) out.push_back(*high);
  }
  if (out.back().time_ns != all.back().time_ns || out.back().equity != all.back().equity) {
    out.push_back(all.back());
  }
  return out;
}

void EquityCurve::write(StateWriter& out) const {
  out.varint(closes_.size());
  std::int64_t previous = 0;
  for (const Close& close : closes_) {
    out.signed_varint(close.time_ns - previous).u64(close.key).f64(close.pnl);
    previous = close.time_ns;
  }
  base_.write(out);
  out.f64(base_walk_.equity).f64(base_walk_.peak).i64(base_walk_.peak_ns);
  out.f64(base_walk_.deepest.amount).i64(base_walk_.deepest.peak_ns);
  out.i64(base_walk_.deepest.trough_ns);
  out.varint(folded_.size());
  for (const EquityPoint& point : folded_) out.i64(point.time_ns).f64(point.equity);
  out.varint(folded_count_).i64(folded_until_ns_).varint(late_count_);
}

void EquityCurve::read(StateReader& in) {
  closes_.clear();
  std::int64_t previous = 0;
  for (std::size_t left = in.count(17); left > 0; --left) {
    const std::int64_t step = in.signed_varint();
    // In unsigned arithmetic, because a damaged state may overflow.
    previous = static_cast<std::int64_t>(static_cast<std::uint64_t>(previous) +
                                         static_cast<std::uint64_t>(step));
    const std::uint64_t key = in.u64();
    closes_.push_back({previous, key, in.f64()});
  }
  if (!std::is_sorted(closes_.begin(), closes_.end())) {
    throw Error(EPHOR_INVALID, "closes out of order");
  }
  base_.read(in);
  base_walk_.equity = in.f64();
  base_walk_.peak = in.f64();
  base_walk_.peak_ns = in.i64();
  base_walk_.deepest.amount = in.f64();
  base_walk_.deepest.peak_ns = in.i64();
  base_walk_.deepest.trough_ns = in.i64();
  folded_.clear();
  for (std::size_t left = in.count(16); left > 0; --left) {
    const std::int64_t time_ns = in.i64();
    folded_.push_back({time_ns, in.f64()});
  }
  folded_count_ = in.varint();
  folded_until_ns_ = in.i64();
  late_count_ = in.varint();
}

}  // namespace ephor::trade_tracker
