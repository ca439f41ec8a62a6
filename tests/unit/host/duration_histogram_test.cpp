// SPDX-License-Identifier: Apache-2.0
#include "bus/duration_histogram.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using ephor::host::DurationHistogram;

TEST_CASE("duration histogram: every duration's bucket is within 5 % of it", "[unit][bus]") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t duration = random() >> (20 + random() % 44);  // below 2^44
    const std::uint64_t found =
        DurationHistogram::middle_of(DurationHistogram::bucket_of(duration));
    const double error = std::abs(static_cast<double>(found) - static_cast<double>(duration));
    if (error > 0.05 * static_cast<double>(duration)) {
      FAIL(duration << " is counted as " << found);
    }
  }
}

TEST_CASE("duration histogram: buckets are in order, the largest durations share one",
          "[unit][bus]") {
  for (std::size_t i = 1; i < DurationHistogram::kBuckets; ++i) {
    CHECK(DurationHistogram::middle_of(i) > DurationHistogram::middle_of(i - 1));
    CHECK(DurationHistogram::bucket_of(DurationHistogram::middle_of(i)) == i);
  }
  CHECK(DurationHistogram::bucket_of(std::uint64_t{1} << 44) == DurationHistogram::kBuckets - 1);
  CHECK(DurationHistogram::bucket_of(UINT64_MAX) == DurationHistogram::kBuckets - 1);
}

TEST_CASE("duration histogram: quantiles are those of the sorted durations", "[unit][bus]") {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> durations(11.0, 2.0);  // around 60 us, a long tail
  DurationHistogram histogram;
  std::vector<std::int64_t> all;
  std::uint64_t sum = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto duration = static_cast<std::int64_t>(durations(random));
    const std::uint64_t weight = 1 + random() % 5;
    histogram.record(duration, weight);
    all.insert(all.end(), weight, duration);
    sum += static_cast<std::uint64_t>(duration) * weight;
  }
  std::sort(all.begin(), all.end());
  const auto snapshot = histogram.snapshot();
  CHECK(snapshot.count == all.size());
  CHECK(snapshot.sum_ns == sum);
  CHECK(snapshot.max_ns == static_cast<std::uint64_t>(all.back()));
  for (const double share : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double rank = std::ceil(share * static_cast<double>(all.size()));
    const auto exact = static_cast<double>(all[rank < 1 ? 0 : static_cast<std::size_t>(rank) - 1]);
    CHECK(static_cast<double>(snapshot.quantile_ns(share)) == Approx(exact).epsilon(0.05));
  }
}

TEST_CASE("duration histogram: nothing recorded gives no duration; a negative one is none",
          "[unit][bus]") {
  DurationHistogram histogram;
  CHECK(histogram.snapshot().quantile_ns(0.99) == 0);
  histogram.record(-5);
  const auto snapshot = histogram.snapshot();
  CHECK(snapshot.count == 1);
  CHECK(snapshot.quantile_ns(1.0) == 0);
}

TEST_CASE("duration histogram: a difference holds what came between", "[unit][bus]") {
  DurationHistogram histogram;
  histogram.record(1'000'000, 90);
  const auto before = histogram.snapshot();
  histogram.record(1000, 10);
  const auto between = histogram.snapshot() - before;
  CHECK(between.count == 10);
  CHECK(between.sum_ns == 10'000);
  CHECK(static_cast<double>(between.quantile_ns(0.99)) == Approx(1000.0).epsilon(0.05));
}

TEST_CASE("duration histogram: a snapshot taken while one thread records is sound", "[unit][bus]") {
  DurationHistogram histogram;
  std::atomic<bool> is_done{false};
  std::thread writer([&] {
    for (int i = 0; i < 100'000; ++i) histogram.record(100 + i % 7);
    is_done = true;
  });
  std::uint64_t last = 0;
  while (!is_done) {
    const auto snapshot = histogram.snapshot();
    CHECK(snapshot.count >= last);
    last = snapshot.count;
  }
  writer.join();
  CHECK(histogram.snapshot().count == 100'000);
}
