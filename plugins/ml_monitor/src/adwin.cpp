// SPDX-License-Identifier: Apache-2.0
#include "adwin.hpp"

#include <cmath>

namespace ephor::ml_monitor {
namespace {

// 2^48 values are more than any log holds; a longer list of rows is no state of ours.
constexpr std::size_t kRowsMax = 48;

double size_of_row(std::size_t row) { return static_cast<double>(std::uint64_t{1} << row); }

}  // namespace

bool Adwin::update(double value) {
  if (is_alarmed_) {
    const double change = last_change_;
    *this = Adwin(limits_);
    last_change_ = change;
  }
  insert(value);
  ++ticks_;
  if (ticks_ % limits_.clock != 0 || width_ <= limits_.grace) return false;
  is_alarmed_ = shrink();
  return is_alarmed_;
}

void Adwin::insert(double value) {
  if (rows_.empty()) rows_.emplace_back();
  rows_[0].push_back({value, 0.0});
  ++width_;
  if (width_ > 1) {
    const double n = static_cast<double>(width_);
    const double deviation = value - total_ / (n - 1.0);
    variance_ += (n - 1.0) * deviation * deviation / n;
  }
  total_ += value;
  compress();
}

void Adwin::compress() {
  for (std::size_t row = 0; row < rows_.size() && rows_[row].size() > limits_.buckets_max; ++row) {
    if (row + 1 == rows_.size()) rows_.emplace_back();
    const Bucket first = rows_[row][0];
    const Bucket second = rows_[row][1];
    const double n = size_of_row(row);
    const double difference = first.total / n - second.total / n;
    rows_[row + 1].push_back({first.total + second.total, first.variance + second.variance +
                                                              n * difference * difference / 2.0});
    rows_[row].erase(rows_[row].begin(), rows_[row].begin() + 2);
  }
}

bool Adwin::shrink() {
  bool has_changed = false;
  const double old_total = total_;
  const double old_width = static_cast<double>(width_);
  while (has_cut()) {
    has_changed = true;
    drop_oldest();
  }
  if (has_changed) {
    const double dropped = old_width - static_cast<double>(width_);
    last_change_ = mean() - (old_total - total_) / dropped;
  }
  return has_changed;
}

bool Adwin::has_cut() const {
  const double n = static_cast<double>(width_);
  const double delta = std::log(2.0 * std::log(n) / limits_.delta);
  const double spread = variance_ / n;
  const double side_min = static_cast<double>(limits_.side_min);
  double old_count = 0.0;
  double old_total = 0.0;
  for (std::size_t row = rows_.size(); row-- > 0;) {
    for (const Bucket& bucket : rows_[row]) {
      old_count += size_of_row(row);
      old_total += bucket.total;
      const double new_count = n - old_count;
      if (new_count < side_min || old_count < side_min) continue;
      const double m = 1.0 / (old_count - side_min + 1.0) + 1.0 / (new_count - side_min + 1.0);
      const double limit = std::sqrt(2.0 * m * spread * delta) + 2.0 / 3.0 * delta * m;
      if (std::abs(old_total / old_count - (total_ - old_total) / new_count) > limit) return true;
    }
  }
  return false;
}

void Adwin::drop_oldest() {
  Row& row = rows_.back();
  const Bucket oldest = row.front();
  const double n = size_of_row(rows_.size() - 1);
  width_ -= std::uint64_t{1} << (rows_.size() - 1);
  total_ -= oldest.total;
  const double left = static_cast<double>(width_);
  const double difference = oldest.total / n - total_ / left;
  variance_ -= oldest.variance + n * left * difference * difference / (n + left);
  row.erase(row.begin());
  if (row.empty()) rows_.pop_back();
}

void Adwin::save(StateWriter& out) const {
  out.varint(ticks_).varint(width_).f64(total_).f64(variance_).f64(last_change_);
  out.boolean(is_alarmed_);
  out.varint(rows_.size());
  for (const Row& row : rows_) {
    out.varint(row.size());
    for (const Bucket& bucket : row) out.f64(bucket.total).f64(bucket.variance);
  }
}

void Adwin::load(StateReader& in) {
  ticks_ = in.varint();
  width_ = in.varint();
  total_ = in.f64();
  variance_ = in.f64();
  last_change_ = in.f64();
  is_alarmed_ = in.boolean();
  const std::size_t rows = in.count();
  if (rows > kRowsMax) throw Error(EPHOR_INVALID, "state: an ADWIN window that is too long");
  rows_.assign(rows, {});
  std::uint64_t width = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    rows_[row].resize(in.count(16));
    if (rows_[row].size() > limits_.buckets_max) {
      throw Error(EPHOR_INVALID, "state: too many ADWIN buckets of one size");
    }
    width += static_cast<std::uint64_t>(rows_[row].size()) << row;
    for (Bucket& bucket : rows_[row]) {
      bucket.total = in.f64();
      bucket.variance = in.f64();
    }
  }
  if (width != width_ || (!rows_.empty() && rows_.back().empty())) {
    throw Error(EPHOR_INVALID, "state: an ADWIN window that does not add up");
  }
}

}  // namespace ephor::ml_monitor
