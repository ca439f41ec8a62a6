// SPDX-License-Identifier: Apache-2.0
//
// The roll-ups of one series at one resolution: buckets of event time, sorted, the oldest dropped
// by distance from the newest point. Which buckets remain and what they hold depends on the points
// alone, not on their order: sums are kept to twice the digits of a double (Neumaier 1974, with
// Knuth's two-sum), so that rounding them gives one result for every order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace ephor::metrics {

inline constexpr std::int64_t kMinuteNs = 60'000'000'000;
inline constexpr std::int64_t kHourNs = 60 * kMinuteNs;
inline constexpr std::int64_t kDayNs = 24 * kHourNs;

// `first` and `last` are by event time; of points at one time the first and the last in the log.
struct Bucket {
  std::int64_t start_ns = 0;
  std::uint64_t count = 0;
  double sum_high = 0.0;
  double sum_low = 0.0;  // what rounding has taken from sum_high
  double min = 0.0;
  double max = 0.0;
  double first = 0.0;
  double last = 0.0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  bool is_changed = false;  // since the last save
  bool is_saved = false;    // its row exists

  double sum() const { return sum_high + sum_low; }
  double sum_rest() const { return sum_low - (sum() - sum_high); }  // what sum() leaves out
  void add(std::int64_t time_ns, double value);
};

class RollupRing {
 public:
  RollupRing(std::int64_t width_ns, std::int64_t keep_ns)
      : width_ns_(width_ns), keep_ns_(keep_ns) {}

  // O(1) for points in order. False if the point is older than what is kept.
  bool add(std::int64_t time_ns, double value);
  // A bucket read back from its row; buckets come in order.
  void restore(const Bucket& bucket) { buckets_.push_back(bucket); }

  std::int64_t width_ns() const { return width_ns_; }
  const std::deque<Bucket>& buckets() const { return buckets_; }
  // The whole past is here: nothing was dropped yet.
  bool is_complete() const { return !has_dropped_; }
  void set_dropped(bool has_dropped) { has_dropped_ = has_dropped; }

  // Calls `write(bucket)` for each that needs a row and changed since the last call, and marks it
  // saved. One that has a row keeps it.
  template <typename NeedsRow, typename Write>
  void save_changed(NeedsRow&& needs_row, Write&& write) {
    for (Bucket& bucket : buckets_) {
      if (!bucket.is_changed || !(bucket.is_saved || needs_row(bucket))) continue;
      write(static_cast<const Bucket&>(bucket));
      bucket.is_changed = false;
      bucket.is_saved = true;
    }
  }
  std::size_t saved_count() const {
    return static_cast<std::size_t>(std::count_if(
        buckets_.begin(), buckets_.end(), [](const Bucket& bucket) { return bucket.is_saved; }));
  }

  // Makes the buckets anew that have no row, from points in order of time.
  class Filling {
   public:
    explicit Filling(RollupRing& ring) : ring_(ring) {}
    ~Filling();
    void add(std::int64_t time_ns, double value);

   private:
    RollupRing& ring_;
    std::deque<Bucket> made_;
    std::size_t at_ = 0;  // the first restored bucket that is not before the newest made one
    std::int64_t skipped_ns_ = INT64_MIN;  // start of the one that has a row
  };

  // Starts of dropped buckets whose rows have to go.
  std::vector<std::int64_t>& dropped_starts() { return dropped_starts_; }

 private:
  void drop_old();

  std::int64_t width_ns_;
  std::int64_t keep_ns_;
  std::deque<Bucket> buckets_;
  std::vector<std::int64_t> dropped_starts_;
  bool has_dropped_ = false;
};

// The start of the bucket of `width_ns` that holds `time_ns`.
inline std::int64_t bucket_start(std::int64_t time_ns, std::int64_t width_ns) {
  const std::int64_t rest = time_ns % width_ns;
  return time_ns - (rest < 0 ? rest + width_ns : rest);
}

}  // namespace ephor::metrics
