// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "sketch.hpp"
#include "support/catch.hpp"

namespace {

using ephor::StateReader;
using ephor::StateWriter;
using ephor::tracer::Sketch;

using Draw = std::function<double(std::mt19937_64&)>;

struct Distribution {
  const char* name;
  Draw draw;
};

std::vector<Distribution> distributions() {
  return {
      {"uniform", [](auto& random) { return std::uniform_real_distribution(1.0, 1e6)(random); }},
      {"lognormal", [](auto& random) { return std::lognormal_distribution(14.0, 2.0)(random); }},
      // Pareto with a tail of 1, as latencies may have; by inversion.
      {"pareto",
       [](auto& random) {
         return 1000.0 / (1.0 - std::uniform_real_distribution(0.0, 1.0)(random));
       }},
      {"constant", [](auto&) { return 12'345.0; }},
      {"two points", [](auto& random) { return random() % 2 == 0 ? 1.0 : 9e18; }},
      {"below one", [](auto& random) { return std::exponential_distribution(1e9)(random); }},
  };
}

// The value the sketch promises to be near: rank floor(q (n - 1)) of the sorted values.
double exact_quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

constexpr double kQuantiles[] = {0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0};

}  // namespace

TEST_CASE("sketch: every quantile is within 1 % of the exact one", "[unit][tracing]") {
  std::mt19937_64 random(7);
  for (const Distribution& distribution : distributions()) {
    for (const std::size_t count : {1UL, 2UL, 10UL, 1000UL, 50'000UL}) {
      Sketch sketch;
      std::vector<double> values;
      for (std::size_t i = 0; i < count; ++i) values.push_back(distribution.draw(random));
      for (const double value : values) sketch.add(value);
      std::sort(values.begin(), values.end());
      for (const double q : kQuantiles) {
        const double exact = exact_quantile(values, q);
        INFO(distribution.name << " n=" << count << " q=" << q);
        // 1e-9 more than the promise, for the rounding of log and pow.
        REQUIRE(std::abs(*sketch.quantile(q) - exact) <= (0.01 + 1e-9) * exact);
      }
    }
  }
}

TEST_CASE("sketch: merged parts equal the whole, in any order", "[unit][tracing]") {
  std::mt19937_64 random(8);
  for (const std::size_t bins_max : {Sketch::kBinsMax, std::size_t{20}}) {
    std::vector<double> values;
    for (int i = 0; i < 5000; ++i) {
      values.push_back(std::lognormal_distribution(10.0, 3.0)(random));
    }
    Sketch whole(bins_max);
    for (const double value : values) whole.add(value);
    std::shuffle(values.begin(), values.end(), random);
    std::vector<Sketch> parts(7, Sketch(bins_max));
    for (std::size_t i = 0; i < values.size(); ++i) parts[i % parts.size()].add(values[i]);
    Sketch merged(bins_max);
    for (const Sketch& part : parts) merged.merge(part);
    REQUIRE(merged.count() == whole.count());
    REQUIRE(merged == whole);
  }
}

TEST_CASE("sketch: a bound on bins costs the low end only", "[unit][tracing]") {
  std::mt19937_64 random(9);
  // 400 bins reach 8 nats down from the maximum, which is far below the median here (sigma 2).
  Sketch sketch(400);
  std::vector<double> values;
  for (int i = 0; i < 100'000; ++i)
    values.push_back(std::lognormal_distribution(10.0, 2.0)(random));
  for (const double value : values) sketch.add(value);
  std::sort(values.begin(), values.end());
  REQUIRE(sketch.bin_count() == 400);
  REQUIRE(sketch.count() == values.size());
  for (const double q : {0.95, 0.99, 0.999, 1.0}) {
    const double exact = exact_quantile(values, q);
    REQUIRE(std::abs(*sketch.quantile(q) - exact) <= 0.0101 * exact);
  }
}

TEST_CASE("sketch: zero and odd values have a place", "[unit][tracing]") {
  Sketch sketch;
  REQUIRE_FALSE(sketch.quantile(0.5).has_value());
  for (const double value : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()})
    sketch.add(value);
  sketch.add(std::numeric_limits<double>::infinity());
  REQUIRE(sketch.count() == 4);
  REQUIRE(*sketch.quantile(0.5) == 0.0);
}

TEST_CASE("sketch: its state comes back, and a damaged one is refused", "[unit][tracing]") {
  std::mt19937_64 random(10);
  Sketch sketch;
  for (int i = 0; i < 1000; ++i) sketch.add(std::lognormal_distribution(10.0, 3.0)(random));
  std::string state;
  StateWriter out(state);
  sketch.write(out);
  Sketch read;
  REQUIRE(ephor::read_state(state, [&](StateReader& in) { read.read(in); }));
  REQUIRE(read == sketch);
  REQUIRE(read.count() == sketch.count());
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = state;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    damaged.resize(random() % (damaged.size() + 1));
    Sketch other;
    ephor::read_state(damaged, [&](StateReader& in) { other.read(in); });  // must return
  }
}
