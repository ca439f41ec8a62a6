// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <random>
#include <string>

#include "mix_watch.hpp"
#include "regimes.hpp"
#include "support/catch.hpp"

using namespace ephor::ensemble_tracker;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

RegimeObservation seen(std::int64_t time_s, NameId regime, NameId symbol = 1) {
  return {time_s * kSecond, symbol, regime, 0.8, kUnknown, 0};
}

}  // namespace

TEST_CASE("regimes: dwell times, changes and the matrix by hand", "[unit][ensemble]") {
  RegimeTracker tracker(100, 3, 10);
  for (const auto& [time, regime] :
       {std::pair{0, 1}, {60, 1}, {120, 2}, {180, 1}, {240, 1}, {300, 1}, {360, 1}, {420, 3}}) {
    CHECK(tracker.add(seen(time, static_cast<NameId>(regime))));
  }
  const SymbolRegime& one = tracker.symbols().at(1);
  CHECK(one.latest.regime == 3);
  CHECK(one.since_ns == 420 * kSecond);
  CHECK(one.transitions == 3);
  CHECK(one.flickers == 1);  // 2 was seen once between 1 and 1; 1 lasted four before 3
  CHECK(one.dwells.at(1).runs == 2);
  CHECK(one.dwells.at(1).total_ns == (120 + 240) * kSecond);
  CHECK(one.dwells.at(1).longest_ns == 240 * kSecond);
  CHECK(one.dwells.at(2).total_ns == 60 * kSecond);
  CHECK(one.matrix.at({1, 1}) == 4);
  CHECK(one.matrix.at({1, 2}) == 1);
  CHECK(one.matrix.at({2, 1}) == 1);
  CHECK(one.matrix.at({1, 3}) == 1);
  CHECK(tracker.transitions().size() == 3);
  CHECK(tracker.transitions()[1].is_flicker);
  CHECK_FALSE(tracker.transitions()[2].is_flicker);
}

TEST_CASE("regimes: the past does not change it; bounds hold; state goes on", "[unit][ensemble]") {
  RegimeTracker tracker(2, 3, 2);
  CHECK(tracker.add(seen(100, 1)));
  CHECK_FALSE(tracker.add(seen(50, 2)));
  CHECK(tracker.out_of_order() == 1);
  CHECK(tracker.add(seen(100, 1, 2)));
  CHECK_FALSE(tracker.add(seen(100, 1, 3)));
  CHECK(tracker.beyond_bound() == 1);
  for (int i = 0; i < 10; ++i) tracker.add(seen(200 + i, static_cast<NameId>(i % 2)));
  CHECK(tracker.transitions().size() == 2);
  CHECK(tracker.transition_count() == 10);  // 1 -> 0, then nine more
  std::string state, again;
  ephor::StateWriter out(state);
  tracker.write(out);
  RegimeTracker loaded(2, 3, 2);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { loaded.read(in); }));
  ephor::StateWriter out_again(again);
  loaded.write(out_again);
  CHECK(again == state);
}

TEST_CASE("mix watch: quiet on noise, finds a lasting excess once, and its end",
          "[unit][ensemble]") {
  // Noise of this size puts a window's mean above the limit once in 1200, two in a row in 10^6;
  // below half the limit, where it ends, 94 of 100 are.
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> noise(0.0, 0.1);
    MixWatch watch(250, 0.02);
    int found = 0;
    int over = 0;
    std::int64_t found_at = 0;
    std::int64_t over_at = 0;
    for (int i = 0; i < 6'000; ++i) {
      const double excess = noise(random) + (i >= 2'100 && i < 4'000 ? 0.05 : 0.0);
      const MixWatch::Verdict verdict = watch.add(i, excess);
      if (verdict == MixWatch::Verdict::found) {
        ++found;
        found_at = i;
        CHECK(std::abs(static_cast<double>(watch.onset_ns()) - 2'100) <= 250);
      }
      if (verdict == MixWatch::Verdict::over) {
        ++over;
        over_at = i;
      }
    }
    CAPTURE(seed);
    CHECK(found == 1);
    CHECK(found_at <= 2'100 + 3 * 250);
    CHECK(over == 1);
    CHECK(over_at >= 4'000);
  }
}

TEST_CASE("mix watch: goes on where it was saved", "[unit][ensemble]") {
  std::mt19937_64 random(1);
  std::normal_distribution<double> noise(0.04, 0.1);
  MixWatch watch(50, 0.02);
  for (int i = 0; i < 75; ++i) watch.add(i, noise(random));
  std::string state;
  ephor::StateWriter out(state);
  watch.write(out);
  MixWatch loaded(50, 0.02);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { loaded.read(in); }));
  for (int i = 75; i < 400; ++i) {
    const double excess = noise(random);
    CHECK(watch.add(i, excess) == loaded.add(i, excess));
  }
  CHECK(watch.latest().mean == loaded.latest().mean);
}
