// SPDX-License-Identifier: Apache-2.0
#include "rollup_ring.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "spans.hpp"

namespace ephor::metrics {

void Bucket::add(std::int64_t time_ns, double value) {
  if (count++ == 0) {
    min = max = first = last = value;
    first_ns = last_ns = time_ns;
  } else {
    min = std::min(min, value);
    max = std::max(max, value);
    if (time_ns < first_ns) {
      first = value;
      first_ns = time_ns;
    }
    if (time_ns >= last_ns) {
      last = value;
      last_ns = time_ns;
    }
  }
  const double before = sum_high;
  sum_high += value;
  const double added = sum_high - before;
  const double lost = (before - (sum_high - added)) + (value - added);
  sum_low = std::isfinite(lost) ? sum_low + lost : 0.0;  // a sum beyond all numbers has no rest
  is_changed = true;
}

bool RollupRing::add(std::int64_t time_ns, double value) {
  const std::int64_t start = bucket_start(time_ns, width_ns_);
  if (!buckets_.empty() && buckets_.back().start_ns == start) {
    buckets_.back().add(time_ns, value);
    return true;
  }
  if (!buckets_.empty() && start <= earlier(buckets_.back().start_ns, keep_ns_)) {
    has_dropped_ = true;
    return false;
  }
  auto at = std::lower_bound(
      buckets_.begin(), buckets_.end(), start,
      [](const Bucket& bucket, std::int64_t wanted) { return bucket.start_ns < wanted; });
  if (at == buckets_.end() || at->start_ns != start) {
    Bucket fresh;
    fresh.start_ns = start;
    at = buckets_.insert(at, fresh);
  }
  at->add(time_ns, value);
  drop_old();
  return true;
}

void RollupRing::Filling::add(std::int64_t time_ns, double value) {
  const std::int64_t start = bucket_start(time_ns, ring_.width_ns_);
  if (made_.empty() || made_.back().start_ns != start) {
    if (start == skipped_ns_) return;
    while (at_ < ring_.buckets_.size() && ring_.buckets_[at_].start_ns < start) ++at_;
    if (at_ < ring_.buckets_.size() && ring_.buckets_[at_].start_ns == start) {
      skipped_ns_ = start;
      return;
    }
    made_.emplace_back().start_ns = start;
  }
  made_.back().add(time_ns, value);
}

RollupRing::Filling::~Filling() {
  std::deque<Bucket> merged;
  std::merge(ring_.buckets_.begin(), ring_.buckets_.end(), made_.begin(), made_.end(),
             std::back_inserter(merged),
             [](const Bucket& a, const Bucket& b) { return a.start_ns < b.start_ns; });
  ring_.buckets_ = std::move(merged);
  // A bucket may be over that the history still reaches back to.
  const bool had_dropped = ring_.has_dropped_;
  if (!ring_.buckets_.empty()) ring_.drop_old();
  ring_.has_dropped_ = had_dropped;
}

void RollupRing::drop_old() {
  while (buckets_.front().start_ns <= earlier(buckets_.back().start_ns, keep_ns_)) {
    if (buckets_.front().is_saved) dropped_starts_.push_back(buckets_.front().start_ns);
    buckets_.pop_front();
    has_dropped_ = true;
  }
}

}  // namespace ephor::metrics
