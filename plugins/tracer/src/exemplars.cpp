// SPDX-License-Identifier: Apache-2.0
#include "exemplars.hpp"

#include <algorithm>
#include <cstring>

namespace ephor::tracer {

void Exemplars::insert(std::uint16_t bucket, const Exemplar& exemplar) {
  auto at = buckets_.begin();
  while (at != buckets_.end() && at->bucket < bucket) ++at;
  if (at == buckets_.end() || at->bucket != bucket) {
    at = buckets_.insert(at, Bucket{});
    at->bucket = bucket;
  }
  std::size_t place = at->count;
  for (; place > 0; --place) {
    const std::uint64_t other = at->traces[place - 1].priority;
    if (other == exemplar.priority) return;
    if (other < exemplar.priority) break;
  }
  if (place >= kPerBucket) return;
  if (at->count < kPerBucket) ++at->count;
  for (std::size_t i = at->count; --i > place;) at->traces[i] = at->traces[i - 1];
  at->traces[place] = exemplar;
}

void Exemplars::merge(const Exemplars& other) {
  for (const Bucket& bucket : other.buckets_) {
    for (std::size_t i = 0; i < bucket.count; ++i) insert(bucket.bucket, bucket.traces[i]);
  }
}

void Exemplars::write(StateWriter& out) const {
  out.varint(buckets_.size());
  for (const Bucket& bucket : buckets_) {
    out.varint(bucket.bucket).u8(static_cast<std::uint8_t>(bucket.count));
    for (std::size_t i = 0; i < bucket.count; ++i) {
      const Exemplar& one = bucket.traces[i];
      out.u64(one.priority);
      out.raw({reinterpret_cast<const char*>(one.trace_id.data()), one.trace_id.size()});
    }
  }
}

void Exemplars::read(StateReader& in) {
  buckets_.clear();
  for (std::size_t left = in.count(26); left > 0; --left) {
    const std::uint64_t bucket = in.varint();
    const std::uint8_t count = in.u8();
    if (bucket > 65'535 || count == 0 || count > kPerBucket ||
        (!buckets_.empty() && bucket <= buckets_.back().bucket)) {
      throw Error(EPHOR_INVALID, "exemplars: buckets out of order or out of range");
    }
    Bucket& one = buckets_.emplace_back();
    one.bucket = static_cast<std::uint16_t>(bucket);
    one.count = count;
    for (std::size_t i = 0; i < count; ++i) {
      one.traces[i].priority = in.u64();
      std::memcpy(one.traces[i].trace_id.data(), in.raw(16).data(), 16);
    }
  }
}

}  // namespace ephor::tracer
