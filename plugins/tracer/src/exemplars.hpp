// SPDX-License-Identifier: Apache-2.0
//
// Traces that show a latency: a few trace ids per bucket of durations.
//
// Which ones is decided by a hash of the trace id, the smallest ones stay (bottom-k sampling; Cohen
// and Kaplan 2007, "Summarizing Data using Bottom-k Sketches", PODC). So the choice depends on the
// spans alone, not on their order; merging two windows gives the exemplars of both together; within
// a bucket they are a uniform sample; and one trace, chosen for one operation, is likely to be
// chosen for others too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

namespace ephor::tracer {

struct Exemplar {
  std::array<std::uint8_t, 16> trace_id{};
  std::uint64_t priority = 0;  // hash of the trace id; 0: there is none

  bool has_trace() const { return priority != 0; }
};

class Exemplars {
 public:
  static constexpr std::size_t kPerBucket = 2;
  static constexpr int kBucketShift = 4;  // a bucket is 16 bins of the sketch: a factor of 1.37

  static std::uint16_t bucket_of(std::uint16_t bin) {
    return static_cast<std::uint16_t>(bin >> kBucketShift);
  }

  struct Bucket {
    std::uint16_t bucket = 0;
    std::uint16_t count = 0;
    std::array<Exemplar, kPerBucket> traces;  // by priority
  };

  // The same trace twice in a bucket is one exemplar. O(buckets), no allocation but for a new one.
  void add(std::uint16_t bin, const Exemplar& exemplar) { insert(bucket_of(bin), exemplar); }
  void merge(const Exemplars& other);
  void clear() { buckets_.clear(); }

  const std::vector<Bucket>& buckets() const { return buckets_; }  // by bucket

  void write(StateWriter& out) const;
  void read(StateReader& in);  // throws ephor::Error

 private:
  void insert(std::uint16_t bucket, const Exemplar& exemplar);

  std::vector<Bucket> buckets_;
};

}  // namespace ephor::tracer
