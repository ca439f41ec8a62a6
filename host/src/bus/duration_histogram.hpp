// SPDX-License-Identifier: Apache-2.0
//
// How long something took, again and again: a log-linear histogram of nanoseconds in fixed memory.
//
// An octave is cut into 16 buckets of equal width, so a bucket is at most 1/16 of its lower bound
// wide and its middle at most 1/32 (3.2 %) off; durations below 32 ns have a bucket each. One
// thread records with plain loads and stores; any thread takes a snapshot, which may lack what is
// being recorded meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ephor::host {

class DurationHistogram {
 public:
  static constexpr unsigned kFractionBits = 4;
  // Above 2^44 ns (nearly five hours) everything is in the last bucket; max() stays exact.
  static constexpr unsigned kOctaveLast = 43;
  static constexpr std::size_t kBuckets = (kOctaveLast - kFractionBits + 2) << kFractionBits;

  // What was recorded so far, or between two snapshots.
  struct Snapshot {
    std::array<std::uint64_t, kBuckets> buckets{};
    std::uint64_t count = 0;
    std::uint64_t sum_ns = 0;
    std::uint64_t max_ns = 0;  // of a difference: still since the start

    // Nearest rank: the least duration that at least `share` of all do not exceed, within 3.2 %; 0
    // if nothing was recorded.
    std::uint64_t quantile_ns(double share) const;
    Snapshot operator-(const Snapshot& earlier) const;
  };

  // The writer's. `weight` durations of the same length; a negative one counts as 0.
  void record(std::int64_t duration_ns, std::uint64_t weight = 1);

  Snapshot snapshot() const;  // [any]

  // Where a duration is counted, and the middle of what is counted there.
  static std::size_t bucket_of(std::uint64_t duration_ns);
  static std::uint64_t middle_of(std::size_t bucket);

 private:
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets_{};
  std::atomic<std::uint64_t> sum_ns_{0};
  std::atomic<std::uint64_t> max_ns_{0};
};

}  // namespace ephor::host
