// SPDX-License-Identifier: Apache-2.0
#include "metric_series.hpp"

#include <algorithm>
#include <cmath>
#include <ephor/text_hash.hpp>
#include <utility>

#include "spans.hpp"

namespace ephor::metrics {
namespace {

std::string hex_of(std::uint64_t value) {
  std::string out(16, '0');
  for (std::size_t i = out.size(); i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 0xF];
  return out;
}

}  // namespace

MetricSeries::MetricSeries(std::string name, std::string labels_json, const SeriesLimits& limits)
    : name_(std::move(name)),
      labels_json_(std::move(labels_json)),
      labels_hash_(hex_of(hash64(labels_json_))),
      history_points_(limits.history_points),
      rings_{RollupRing(kResolutionsNs[0], limits.keep_ns[0]),
             RollupRing(kResolutionsNs[1], limits.keep_ns[1]),
             RollupRing(kResolutionsNs[2], limits.keep_ns[2])} {}

void MetricSeries::add(std::int64_t time_ns, double value) {
  if (count_++ == 0) {
    min_ = max_ = value;
    first_ns_ = time_ns;
    latest_ = {time_ns, value};
  }
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  first_ns_ = std::min(first_ns_, time_ns);
  if (time_ns >= latest_.time_ns) latest_ = {time_ns, value};
  const double sum = sum_ + value;
  compensation_ += std::abs(sum_) >= std::abs(value) ? (sum_ - sum) + value : (value - sum) + sum_;
  sum_ = sum;

  if (history_.empty() || time_ns >= history_.back().time_ns) {
    history_.push_back({time_ns, value});
  } else if (history_.size() < history_points_ || time_ns >= history_.front().time_ns) {
    const auto at = std::upper_bound(
        history_.begin(), history_.end(), time_ns,
        [](std::int64_t wanted, const MetricPoint& point) { return wanted < point.time_ns; });
    history_.insert(at, {time_ns, value});
  }
  if (history_.size() > history_points_) history_.pop_front();

  for (RollupRing& ring : rings_) is_changed = ring.add(time_ns, value) || is_changed;
}

void MetricSeries::set_histogram(std::int64_t time_ns, std::vector<MetricBucket> buckets) {
  if (time_ns < histogram_ns_) return;
  histogram_ns_ = time_ns;
  histogram_ = std::move(buckets);
}

std::optional<MetricPoint> MetricSeries::value_at(std::int64_t time_ns,
                                                  std::int64_t oldest_ns) const {
  const auto good = [&](MetricPoint found) -> std::optional<MetricPoint> {
    if (found.time_ns < oldest_ns) return std::nullopt;
    return found;
  };
  const auto point = std::upper_bound(
      history_.begin(), history_.end(), time_ns,
      [](std::int64_t wanted, const MetricPoint& one) { return wanted < one.time_ns; });
  if (point != history_.begin()) return good(*std::prev(point));
  for (const RollupRing& ring : rings_) {
    const auto& buckets = ring.buckets();
    const auto bucket = std::upper_bound(
        buckets.begin(), buckets.end(), time_ns,
        [](std::int64_t wanted, const Bucket& one) { return wanted < one.last_ns; });
    if (bucket == buckets.begin()) continue;
    const Bucket& found = *std::prev(bucket);
    return good({found.last_ns, found.last});
  }
  return std::nullopt;
}

void MetricSeries::write(StateWriter& out) const {
  out.text(name_).text(labels_json_).text(unit_).u8(static_cast<std::uint8_t>(kind_));
  out.varint(count_).f64(sum_).f64(compensation_).f64(min_).f64(max_);
  out.i64(first_ns_).i64(latest_.time_ns).f64(latest_.value);
  write_points(out, history_);
  out.i64(histogram_ns_).varint(histogram_.size());
  for (const MetricBucket& bucket : histogram_) out.f64(bucket.upper_bound).f64(bucket.count);
  for (const RollupRing& ring : rings_) {
    out.varint(ring.saved_count()).boolean(!ring.is_complete());
  }
}

// Name and labels have been read by the table, which needs them to make the series.
void MetricSeries::read(StateReader& in) {
  unit_ = in.text();
  kind_ = static_cast<MetricKind>(in.u8());
  count_ = in.varint();
  sum_ = in.f64();
  compensation_ = in.f64();
  min_ = in.f64();
  max_ = in.f64();
  first_ns_ = in.i64();
  latest_.time_ns = in.i64();
  latest_.value = in.f64();
  read_points(in, history_);
  histogram_ns_ = in.i64();
  for (std::size_t left = in.count(16); left > 0; --left) {
    const double upper_bound = in.f64();
    histogram_.push_back({upper_bound, in.f64()});
  }
  for (std::size_t i = 0; i < kResolutionCount; ++i) {
    saved_row_counts_[i] = static_cast<std::size_t>(in.varint());
    rings_[i].set_dropped(in.boolean());
  }
}

bool MetricSeries::finish_reading() {
  for (std::size_t i = 0; i < kResolutionCount; ++i) {
    if (rings_[i].saved_count() != saved_row_counts_[i]) return false;
  }
  const bool is_complete = is_history_complete();
  for (RollupRing& ring : rings_) {
    RollupRing::Filling filling(ring);
    for (const MetricPoint& point : history_) {
      const bool is_whole =
          is_complete || bucket_start(point.time_ns, ring.width_ns()) > history_.front().time_ns;
      if (is_whole) filling.add(point.time_ns, point.value);
    }
  }
  // The bound may have been lowered since.
  while (history_.size() > history_points_) history_.pop_front();
  return true;
}

std::optional<double> histogram_quantile(const std::vector<MetricBucket>& buckets, double q) {
  if (buckets.empty() || !(buckets.back().count > 0.0)) return std::nullopt;
  const double rank = q * buckets.back().count;
  const auto found = std::find_if(buckets.begin(), buckets.end(),
                                  [&](const MetricBucket& bucket) { return bucket.count >= rank; });
  if (found == buckets.end()) return std::nullopt;
  const bool is_first = found == buckets.begin();
  if (std::isinf(found->upper_bound)) {
    if (is_first) return std::nullopt;
    return std::prev(found)->upper_bound;
  }
  // Below the first bound nothing is known of where the observations begin, unless it is positive:
  // then zero is taken, as for durations.
  if (is_first && found->upper_bound <= 0.0) return found->upper_bound;
  const double low = is_first ? 0.0 : std::prev(found)->upper_bound;
  const double below = is_first ? 0.0 : std::prev(found)->count;
  const double inside = found->count - below;
  if (!(inside > 0.0)) return found->upper_bound;
  return low + (found->upper_bound - low) * (rank - below) / inside;
}

}  // namespace ephor::metrics
