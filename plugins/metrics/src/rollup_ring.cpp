// SPDX-License-Identifier: Apache-2.0
#include "rollup_ring.hpp"

#include <algorithm>

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
  sum += value;
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

void RollupRing::drop_old() {
  while (buckets_.front().start_ns <= earlier(buckets_.back().start_ns, keep_ns_)) {
    if (buckets_.front().is_saved) dropped_starts_.push_back(buckets_.front().start_ns);
    buckets_.pop_front();
    has_dropped_ = true;
  }
}

}  // namespace ephor::metrics
