// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <random>
#include <string>

#include "error_watch.hpp"
#include "support/catch.hpp"

namespace {

using namespace ephor::tracer;

constexpr std::int64_t kMinute = 60'000'000'000;

// One span a minute, failing at a rate.
struct Trials {
  explicit Trials(std::uint64_t seed) : random(seed) {}

  int run(int minutes, double rate, std::uint64_t message = 1) {
    for (int i = 0; i < minutes; ++i) {
      const bool is_error = std::uniform_real_distribution<>()(random) < rate;
      last = watch.add(settings, kMinute * ++minute, is_error, is_error ? message : 0);
      if (last != WatchChange::none) return i;
    }
    return -1;
  }

  std::mt19937_64 random;
  ErrorSettings settings;
  ErrorWatch watch;
  std::int64_t minute = 0;
  WatchChange last = WatchChange::none;
};

}  // namespace

TEST_CASE("errors: Wilson's interval", "[unit][tracing]") {
  // Wilson (1927) for 95 %; the figures are those of R's binom.confint(method = "wilson").
  const ephor::Interval tenth = ephor::wilson_interval(10, 100, 1.959964);
  REQUIRE(tenth.low == Approx(0.05522914).epsilon(1e-5));
  REQUIRE(tenth.high == Approx(0.1743657).epsilon(1e-5));
  const ephor::Interval none = ephor::wilson_interval(0, 10, 1.959964);
  REQUIRE(none.low == Approx(0.0).margin(1e-12));
  REQUIRE(none.high == Approx(0.2775328).epsilon(1e-5));
  REQUIRE(ephor::wilson_interval(0, 0, 1.96).high == 1.0);
}

TEST_CASE("errors: a burst is found, counted and let go", "[unit][tracing]") {
  int split = 0;
  for (const double rate : {0.1, 0.2, 0.5}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      INFO("rate " << rate << ", seed " << seed);
      Trials trials(seed);
      REQUIRE(trials.run(1500, 0.001) == -1);
      const std::int64_t begin = trials.minute;
      const int found = trials.run(240, rate, 77);
      REQUIRE(trials.last == WatchChange::opened);
      REQUIRE(found < 150);
      REQUIRE(trials.watch.latest().onset_ns / kMinute > begin - 60);
      REQUIRE(trials.watch.latest().message_group == 77);
      REQUIRE(trials.watch.latest().spans_before > 1400);
      if (trials.run(800, rate, 77) != -1) {
        ++split;  // a pause within the burst
        continue;
      }
      REQUIRE(trials.run(400, 0.001) >= 0);
      REQUIRE(trials.last == WatchChange::recovered);
      // 800 trials: 4 standard errors.
      const double error = 4.0 * std::sqrt(rate * (1.0 - rate) / 800.0);
      REQUIRE(trials.watch.latest().rate_after() == Approx(rate).margin(error));
    }
  }
  REQUIRE(split <= 3);
}

TEST_CASE("errors: false alarms are as rare as was asked", "[unit][tracing]") {
  // Half a million spans between two of them were asked for; 4 million of each rate give 8 on
  // average, and more than 20 with a chance of 1 in 10 000.
  for (const double rate : {0.0005, 0.002, 0.01, 0.1}) {
    INFO("rate " << rate);
    int alarms = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      Trials trials(seed * 31);
      for (int left = 100'000; left > 0;) {
        const int found = trials.run(left, rate);
        if (found < 0) break;
        alarms += trials.last == WatchChange::opened ? 1 : 0;
        left -= found + 1;
      }
    }
    REQUIRE(alarms <= 20);
  }
}

TEST_CASE("errors: limits of rise, ratio, count and duration", "[unit][tracing]") {
  Trials rise(1);
  rise.settings.rise_min = 0.5;
  rise.settings.errors_min = 10;
  REQUIRE(rise.run(1000, 0.001) == -1);
  REQUIRE(rise.run(1000, 0.2) == -1);

  Trials ratio(2);
  ratio.settings.factor_min = 10.0;
  REQUIRE(ratio.run(3000, 0.03) == -1);
  REQUIRE(ratio.run(300, 0.12) == -1);

  Trials many(3);
  many.settings.errors_min = 40;
  REQUIRE(many.run(1000, 0.001) == -1);
  REQUIRE(many.run(30, 1.0) == -1);
  REQUIRE(many.run(30, 1.0) >= 0);

  // All failures of one second.
  ErrorWatch brief;
  const ErrorSettings settings;
  std::int64_t now = 0;
  for (int i = 0; i < 10'000; ++i) {
    REQUIRE(brief.add(settings, now += 1'000'000, false, 0) == WatchChange::none);
  }
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(brief.add(settings, now += 1'000'000, true, 1) == WatchChange::none);
  }
}

TEST_CASE("errors: a new operation that always failed like this is no burst", "[unit][tracing]") {
  for (const double rate : {0.05, 0.2, 0.5}) {
    int alarms = 0;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      Trials trials(seed + 500);
      alarms += trials.run(2000, rate) >= 0 ? 1 : 0;
    }
    INFO("rate " << rate);
    REQUIRE(alarms <= 1);
  }
}

TEST_CASE("errors: the state goes on bit by bit", "[unit][tracing]") {
  Trials whole(12);
  Trials broken(12);
  for (const double rate : {0.001, 0.3, 0.001}) {
    for (int i = 0; i < 300; ++i) {
      REQUIRE(whole.run(1, rate) == broken.run(1, rate));
      REQUIRE(whole.last == broken.last);
      std::string state;
      ephor::StateWriter out(state);
      broken.watch.write(out);
      broken.watch = {};
      REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { broken.watch.read(in); }));
    }
  }
  REQUIRE(whole.watch.latest().errors_after == broken.watch.latest().errors_after);
  REQUIRE(whole.watch.latest().recovered_ns > 0);
}
