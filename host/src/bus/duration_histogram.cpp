// SPDX-License-Identifier: Apache-2.0
#include "bus/duration_histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ephor::host {
namespace {

// One writer: no need for a locked add.
void add(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

}  // namespace

std::size_t DurationHistogram::bucket_of(std::uint64_t duration_ns) {
  constexpr std::uint64_t kFractions = 1U << kFractionBits;
  if (duration_ns < kFractions) return duration_ns;
  const auto octave = static_cast<unsigned>(std::bit_width(duration_ns)) - 1;
  if (octave > kOctaveLast) return kBuckets - 1;
  const unsigned shift = octave - kFractionBits;
  return ((shift + 1) << kFractionBits) + ((duration_ns >> shift) - kFractions);
}

std::uint64_t DurationHistogram::middle_of(std::size_t bucket) {
  constexpr std::uint64_t kFractions = 1U << kFractionBits;
  if (bucket < 2 * kFractions) return bucket;
  const std::size_t shift = (bucket >> kFractionBits) - 1;
  const std::uint64_t low = (kFractions + (bucket & (kFractions - 1))) << shift;
  return low + (std::uint64_t{1} << shift) / 2;
}

void DurationHistogram::record(std::int64_t duration_ns, std::uint64_t weight) {
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(duration_ns, 0));
  add(buckets_[bucket_of(duration)], weight);
  add(sum_ns_, duration * weight);
  if (duration > max_ns_.load(std::memory_order_relaxed)) {
    max_ns_.store(duration, std::memory_order_relaxed);
  }
}

DurationHistogram::Snapshot DurationHistogram::snapshot() const {
  Snapshot out;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    out.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    out.count += out.buckets[i];
  }
  out.sum_ns = sum_ns_.load(std::memory_order_relaxed);
  out.max_ns = max_ns_.load(std::memory_order_relaxed);
  return out;
}

std::uint64_t DurationHistogram::Snapshot::quantile_ns(double share) const {
  if (count == 0) return 0;
  const double wanted = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count));
  const std::uint64_t rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets[i];
    if (seen >= rank) return i + 1 == kBuckets ? max_ns : std::min(middle_of(i), max_ns);
  }
  return max_ns;
}

DurationHistogram::Snapshot DurationHistogram::Snapshot::operator-(const Snapshot& earlier) const {
  Snapshot out = *this;
  for (std::size_t i = 0; i < kBuckets; ++i) out.buckets[i] -= earlier.buckets[i];
  out.count -= earlier.count;
  out.sum_ns -= earlier.sum_ns;
  return out;
}

}  // namespace ephor::host
