// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "metric_series.hpp"
#include "rollup_ring.hpp"
#include "support/catch.hpp"
#include "trend.hpp"

using namespace ephor::metrics;

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::vector<MetricPoint> points_of(const std::vector<double>& values, std::int64_t step_ns) {
  std::vector<MetricPoint> out;
  for (const double value : values) {
    out.push_back({static_cast<std::int64_t>(out.size()) * step_ns, value});
  }
  return out;
}

MetricSeries series_of(std::size_t history_points) {
  SeriesLimits limits;
  limits.history_points = history_points;
  return MetricSeries("m", "{}", limits);
}

}  // namespace

TEST_CASE("theil-sen: a straight line has its slope and an interval of no width",
          "[unit][metrics]") {
  std::vector<double> values;
  for (int i = 0; i < 20; ++i) values.push_back(5.0 - 0.5 * i);
  const auto trend = theil_sen(points_of(values, 2 * kSecondNs));
  REQUIRE(trend);
  CHECK(trend->slope_per_s == Approx(-0.25));
  CHECK(*trend->low_per_s == Approx(-0.25));
  CHECK(*trend->high_per_s == Approx(-0.25));
  CHECK(std::string(direction_of(*trend)) == "falling");
}

TEST_CASE("theil-sen: the slope and interval of squares are known in closed form",
          "[unit][metrics]") {
  // The slope between i and j is i + j. Of the 45 sums of two of 0..9 the 23rd is 9. S has variance
  // 10 * 9 * 25 / 18 = 125, so the interval runs from the rank (45 - 21.91) / 2 = 11.5, down to 11:
  // 6, to (45 + 21.91) / 2 + 1 = 34.5, up to 35: 12.
  std::vector<double> values;
  for (int i = 0; i < 10; ++i) values.push_back(i * i);
  const auto trend = theil_sen(points_of(values, kSecondNs));
  REQUIRE(trend);
  CHECK(trend->slope_per_s == Approx(9.0));
  CHECK(*trend->low_per_s == Approx(6.0));
  CHECK(*trend->high_per_s == Approx(12.0));
  CHECK(std::string(direction_of(*trend)) == "rising");
}

TEST_CASE("theil-sen: a quarter of wild points does not move the slope", "[unit][metrics]") {
  std::vector<double> values;
  for (int i = 0; i < 40; ++i) values.push_back(i % 4 == 3 ? 1e6 : 2.0 * i);
  const auto trend = theil_sen(points_of(values, kSecondNs));
  REQUIRE(trend);
  CHECK(trend->slope_per_s == Approx(2.0).epsilon(0.05));
}

TEST_CASE("theil-sen: white noise is flat in about 95 of 100 cases", "[unit][metrics]") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> noise;
  int flat = 0;
  for (int round = 0; round < 1000; ++round) {
    std::vector<double> values;
    for (int i = 0; i < 40; ++i) values.push_back(noise(random));
    const auto trend = theil_sen(points_of(values, kSecondNs));
    flat += std::string(direction_of(*trend)) == "flat" ? 1 : 0;
  }
  // 950 +- 3 * sqrt(1000 * 0.95 * 0.05) = 21, and the ranks are rounded outwards.
  CHECK(flat > 929);
  CHECK(flat < 985);
}

TEST_CASE("theil-sen: too few points, or no time between them, is no trend", "[unit][metrics]") {
  CHECK_FALSE(theil_sen(points_of({1.0, 2.0}, kSecondNs)));
  CHECK_FALSE(theil_sen(points_of({1.0, 2.0, 3.0}, 0)));
  const auto trend = theil_sen(points_of({1.0, 2.0, 3.0}, kSecondNs));
  REQUIRE(trend);
  CHECK_FALSE(trend->low_per_s);
  CHECK(std::string(direction_of(*trend)) == "unknown");
}

TEST_CASE("bucket start: whole multiples of the width, also before 1970", "[unit][metrics]") {
  CHECK(bucket_start(0, 60) == 0);
  CHECK(bucket_start(59, 60) == 0);
  CHECK(bucket_start(60, 60) == 60);
  CHECK(bucket_start(-1, 60) == -60);
  CHECK(bucket_start(-60, 60) == -60);
}

TEST_CASE("series: figures, history and roll-ups do not depend on the order of points",
          "[unit][metrics]") {
  std::mt19937_64 random(3);
  std::vector<MetricPoint> points;
  for (int i = 0; i < 3000; ++i) {
    points.push_back({static_cast<std::int64_t>(i) * 37 * kSecondNs,
                      static_cast<double>(static_cast<int>(random() % 1000))});
  }
  MetricSeries in_order = series_of(500);
  for (const MetricPoint& point : points) in_order.add(point.time_ns, point.value);
  std::shuffle(points.begin(), points.end(), random);
  MetricSeries shuffled = series_of(500);
  for (const MetricPoint& point : points) shuffled.add(point.time_ns, point.value);

  CHECK(in_order.mean() == shuffled.mean());  // whole numbers: sums are exact
  CHECK(in_order.latest().time_ns == shuffled.latest().time_ns);
  CHECK(in_order.first_ns() == shuffled.first_ns());
  REQUIRE(in_order.history().size() == 500);
  REQUIRE(shuffled.history().size() == 500);
  for (std::size_t i = 0; i < 500; ++i) {
    CHECK(in_order.history()[i].time_ns == shuffled.history()[i].time_ns);
    CHECK(in_order.history()[i].value == shuffled.history()[i].value);
  }
  for (std::size_t ring = 0; ring < kResolutionCount; ++ring) {
    const auto& a = in_order.rings()[ring].buckets();
    const auto& b = shuffled.rings()[ring].buckets();
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      CHECK(a[i].start_ns == b[i].start_ns);
      CHECK(a[i].count == b[i].count);
      CHECK(a[i].sum() == b[i].sum());
      CHECK(a[i].first == b[i].first);
      CHECK(a[i].last == b[i].last);
    }
  }
}

TEST_CASE("series: a value in the past comes from the finest that reaches back",
          "[unit][metrics]") {
  MetricSeries series = series_of(10);
  // One point every 10 minutes for 20 days: its number.
  for (int i = 0; i < 20 * 144; ++i) series.add(i * 10 * kMinuteNs, i);
  const auto at = [&](std::int64_t time_ns) { return series.value_at(time_ns, INT64_MIN)->value; };
  const std::int64_t end = (20 * 144 - 1) * 10 * kMinuteNs;
  CHECK(at(end) == 2879);                   // the latest
  CHECK(at(end - kMinuteNs) == 2878);       // in the history
  CHECK(at(end - 3 * kHourNs) == 2861);     // a minute's bucket
  CHECK(at(end - 5 * kDayNs) == 2159);      // an hour's: 2159 ends at :50 exactly
  CHECK(at(end - 5 * kDayNs - 1) == 2153);  // the hour of 2159 has not ended by then
  CHECK_FALSE(series.value_at(-1, INT64_MIN));
  CHECK_FALSE(series.value_at(end - 3 * kHourNs, end));  // too old for the asker
}

TEST_CASE("ring: what is older than kept goes, and its row with it", "[unit][metrics]") {
  RollupRing ring(kMinuteNs, 5 * kMinuteNs);
  for (int minute = 0; minute < 5; ++minute) CHECK(ring.add(minute * kMinuteNs, 1.0));
  CHECK(ring.is_complete());
  int saved = 0;
  const auto all_need_rows = [](const Bucket&) { return true; };
  ring.save_changed([](const Bucket&) { return false; }, [&](const Bucket&) { ++saved; });
  CHECK(saved == 0);
  ring.save_changed(all_need_rows, [&](const Bucket&) { ++saved; });
  CHECK(saved == 5);
  CHECK(ring.add(6 * kMinuteNs, 1.0));
  CHECK(ring.dropped_starts() == std::vector<std::int64_t>{0, kMinuteNs});
  CHECK_FALSE(ring.is_complete());
  CHECK_FALSE(ring.add(kMinuteNs + 5, 1.0));  // too late
  CHECK(ring.add(3 * kMinuteNs + 5, 2.0));
  saved = 0;
  ring.save_changed(all_need_rows, [&](const Bucket& bucket) {
    ++saved;
    if (bucket.start_ns == 3 * kMinuteNs) CHECK(bucket.sum() == 3.0);
  });
  CHECK(saved == 2);  // the new one and the one a late point fell into
}

TEST_CASE("roll-ups: a sum is the same in every order, and when it goes on from its row",
          "[unit][metrics]") {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(0.1 * static_cast<double>(random() % 1000));
  for (int i = 0; i < 400; ++i) values.push_back(std::ldexp(uniform(random), i % 60));
  Bucket first;
  for (const double value : values) first.add(0, value);
  std::set<double> plain_sums;
  for (int round = 0; round < 50; ++round) {
    std::shuffle(values.begin(), values.end(), random);
    plain_sums.insert(std::accumulate(values.begin(), values.end(), 0.0));
    Bucket all;
    Bucket half;
    for (std::size_t i = 0; i < values.size(); ++i) {
      all.add(0, values[i]);
      if (i < values.size() / 2) half.add(0, values[i]);
    }
    CHECK(all.sum() == first.sum());
    Bucket restored = half;
    restored.sum_high = half.sum();
    restored.sum_low = half.sum_rest();
    for (std::size_t i = values.size() / 2; i < values.size(); ++i) restored.add(0, values[i]);
    CHECK(restored.sum() == first.sum());
  }
  CHECK(plain_sums.size() > 1);  // or this would show nothing
  Bucket huge;
  for (int i = 0; i < 3; ++i) huge.add(0, 1.7e308);
  CHECK(std::isinf(huge.sum()));
}

TEST_CASE("counter: what fell was reset to zero", "[unit][metrics]") {
  const auto rate = counter_rate(points_of({10, 30, 5, 25}, 10 * kSecondNs));
  REQUIRE(rate);
  CHECK(rate->increase == 45.0);  // 20 + 5 + 20
  CHECK(rate->resets == 1);
  CHECK_FALSE(counter_rate(points_of({10}, kSecondNs)));
}

TEST_CASE("histogram: quantiles are linear inside a bucket", "[unit][metrics]") {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<ephor::MetricBucket> buckets{{0.1, 10}, {0.5, 30}, {1.0, 40}, {inf, 50}};
  CHECK(*histogram_quantile(buckets, 0.1) == Approx(0.05));
  CHECK(*histogram_quantile(buckets, 0.5) == Approx(0.1 + 0.4 * 15.0 / 20.0));
  CHECK(*histogram_quantile(buckets, 0.8) == Approx(1.0));
  CHECK(*histogram_quantile(buckets, 0.99) == 1.0);  // the highest finite bound
  CHECK_FALSE(histogram_quantile({{1.0, 0.0}}, 0.5));
  CHECK_FALSE(histogram_quantile({}, 0.5));
}

TEST_CASE("series: dates of three centuries do no harm", "[unit][metrics]") {
  constexpr std::int64_t kFirst = -9'214'560'000'000'000'000;  // 1678-01-01
  constexpr std::int64_t kLast = 9'214'646'400'000'000'000;    // 2261-12-31
  MetricSeries series = series_of(10);
  for (const std::int64_t time_ns : {kLast, kFirst, std::int64_t{0}}) series.add(time_ns, 1.0);
  CHECK(series.history().size() == 3);
  CHECK(series.first_ns() == kFirst);
  const std::vector<MetricPoint> points(series.history().begin(), series.history().end());
  CHECK(theil_sen(points)->slope_per_s == 0.0);
  CHECK(counter_rate(points)->increase == 0.0);
  std::string state;
  ephor::StateWriter out(state);
  series.write(out);
  ephor::StateReader in(state);
  CHECK(in.text() == "m");
  CHECK(in.text() == "{}");
  MetricSeries again = series_of(10);
  again.read(in);
  REQUIRE(again.history().size() == 3);
  CHECK(again.history()[0].time_ns == kFirst);
  CHECK(again.history()[2].time_ns == kLast);
}
