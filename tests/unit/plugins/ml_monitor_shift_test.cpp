// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <random>
#include <vector>

#include "block_shift.hpp"
#include "output_run.hpp"
#include "support/catch.hpp"

using namespace ephor::ml_monitor;

namespace {

ShiftBlock block(double mean, std::uint16_t stratum = 0, std::uint32_t count = 30) {
  ShiftBlock out;
  out.add(StratumSum::level(stratum, count, mean));
  return out;
}

// Box and Muller (1958) on a fixed generator, so that every library makes the same numbers.
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : random_(seed) {}
  double operator()() {
    const double u = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
    const double v = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  std::mt19937_64 random_;
};

const ShiftLimits kLimits;

}  // namespace

TEST_CASE("shift: mean, error and deviate of two groups of blocks by hand", "[unit][ml]") {
  // Reference 1, 3, 1, 3, ...: mean 2, residuals -1 and 1; variance n / (n - 1).
  std::vector<ShiftBlock> blocks;
  for (int i = 0; i < 20; ++i) blocks.push_back(block(i % 2 == 0 ? 1.0 : 3.0));
  for (int i = 0; i < 4; ++i) blocks.push_back(block(7.0));
  const auto shift = shift_at(blocks, 4, kLimits);
  REQUIRE(shift);
  CHECK(shift->reference_blocks == 20);
  CHECK(shift->current_count == 120);
  CHECK(shift->reference_mean == Approx(2.0));
  CHECK(shift->difference == Approx(5.0));
  CHECK(shift->autocorrelation == 0.0);  // they alternate: below 0 counts as 0
  CHECK(shift->standard_error == Approx(std::sqrt(20.0 / 19.0 * (1.0 / 20 + 1.0 / 4))));
  CHECK(shift->z == Approx(deviate_of_student(5.0 / shift->standard_error, 19.0)));
  CHECK_FALSE(shift_at(blocks, 13, kLimits));  // 11 blocks are no reference
}

TEST_CASE("shift: deviates", "[unit][ml]") {
  CHECK(normal_tail(1.959963984540054) == Approx(0.025).epsilon(1e-9));
  CHECK(normal_deviate(0.025) == Approx(1.959963984540054).epsilon(1e-9));
  // t(10) = 2.228139 and t(10) = 4.143700 have the two-sided tails 0.05 and 0.002 (tables).
  CHECK(deviate_of_student(2.228139, 10) == Approx(1.96).margin(0.01));
  CHECK(deviate_of_student(-4.143700, 10) == Approx(-3.0902).margin(0.02));
  CHECK(deviate_limit(1.0, 10) == Approx(normal_deviate(1e-5)));
}

TEST_CASE("shift: a change of the mix of strata is none", "[unit][ml]") {
  Normal normal(3);
  std::vector<ShiftBlock> blocks;
  for (int i = 0; i < 40; ++i) {
    ShiftBlock mixed;
    const std::uint32_t calm = i < 30 ? 20 : 2;  // the second regime takes over
    mixed.add(StratumSum::level(1, calm, 0.2 + 0.02 * normal()));
    mixed.add(StratumSum::level(2, 30 - calm, 0.6 + 0.02 * normal()));
    blocks.push_back(mixed);
  }
  const auto shift = shift_at(blocks, 10, kLimits);
  REQUIRE(shift);
  CHECK(std::abs(shift->z) < 3.0);
  CHECK(std::abs(shift->difference) < 0.05);
  // Thrown together it is one.
  std::vector<ShiftBlock> together;
  for (const ShiftBlock& one : blocks) {
    ShiftBlock sum;
    for (const StratumSum& part : one.parts()) sum.add({0, part.count, part.sum, part.squares});
    together.push_back(sum);
  }
  CHECK(shift_at(together, 10, kLimits)->z > 5.0);
  // A stratum that the reference does not know says nothing.
  for (int i = 0; i < 5; ++i) blocks.push_back(block(9.0, 7));
  CHECK_FALSE(shift_at(blocks, 5, kLimits));
}

TEST_CASE("shift: excluded blocks are neither reference nor current", "[unit][ml]") {
  Normal normal(4);
  std::vector<ShiftBlock> blocks;
  for (int i = 0; i < 30; ++i) blocks.push_back(block(normal()));
  for (int i = 0; i < 6; ++i) {
    blocks.push_back(block(10.0));
    blocks.back().is_excluded = true;
  }
  CHECK_FALSE(shift_at(blocks, 4, kLimits));
  ShiftLimits all = kLimits;
  all.counts_excluded = true;
  CHECK(shift_at(blocks, 4, all)->difference > 8.0);
  for (int i = 0; i < 4; ++i) blocks.push_back(block(normal()));
  CHECK(std::abs(shift_at(blocks, 4, kLimits)->z) < 3.0);
}

TEST_CASE("shift: streams without a change stay below the limit, dependent ones too",
          "[unit][ml]") {
  // At most 0.3 false alarms in 10,000 blocks were asked for. 60,000 blocks of each kind: the mean
  // is 1.8, and more than 6 has a chance of 0.3 %. A memory that long is underestimated from few
  // blocks: six times the budget is what it costs.
  const double limit = deviate_limit(0.3, 10);
  for (const double memory : {0.0, 0.4, 0.7}) {
    CAPTURE(memory);
    int alarms = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
      Normal normal(seed);
      std::vector<ShiftBlock> blocks;
      double value = normal();
      bool was_alarmed = false;
      for (int i = 0; i < 200; ++i) {
        value = memory * value + std::sqrt(1.0 - memory * memory) * normal();
        blocks.push_back(block(value));
        const auto shift = greatest_shift(blocks, Direction::kBoth, kLimits, limit);
        const bool is_alarmed = shift && std::abs(shift->z) >= limit;
        alarms += is_alarmed && !was_alarmed ? 1 : 0;
        was_alarmed = is_alarmed;
      }
    }
    CHECK(alarms <= (memory > 0.5 ? 12 : 6));
  }
}

TEST_CASE("shift: a step of three deviations is found within eight blocks, its onset within two",
          "[unit][ml]") {
  const double limit = deviate_limit(0.3, 10);
  int found = 0;
  int placed = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Normal normal(seed);
    std::vector<ShiftBlock> blocks;
    for (int i = 0; i < 60; ++i) blocks.push_back(block(normal()));
    for (std::size_t after = 1; after <= 9; ++after) {
      blocks.push_back(block(3.0 + normal()));
      const auto shift = greatest_shift(blocks, Direction::kUp, kLimits, limit);
      if (!shift || shift->z < limit) continue;
      found += after <= 8 ? 1 : 0;
      const std::size_t onset = clearest_onset(blocks, Direction::kUp, kLimits);
      placed += onset + 2 >= after && onset <= after + 2 ? 1 : 0;
      break;
    }
  }
  CHECK(found >= 95);
  CHECK(placed >= 95);
}

TEST_CASE("output run: stale is what was never so long and cannot be chance", "[unit][ml]") {
  OutputRun run;
  for (std::uint64_t i = 0; i < 100; ++i) {
    run.add(i, static_cast<std::int64_t>(i));
    CHECK_FALSE(run.is_stale());
  }
  std::uint64_t length = 0;
  for (std::int64_t t = 100; !run.is_stale(); ++t) {
    run.add(7'777, t);
    ++length;
  }
  CHECK(length == OutputRun::kLeast);  // a model that never repeats itself
  CHECK(run.begin_ns() == 100);
  CHECK(run.is_repeating_at(104));
  CHECK(run.add(1, 200).length == length);
  CHECK(run.is_repeating_at(104));
  CHECK_FALSE(run.is_repeating_at(99));
  // A rule with two outputs repeats itself every other time: 20 in a row is what a million runs
  // hold.
  OutputRun coin;
  std::mt19937_64 random(5);
  for (std::int64_t t = 0; t < 2'000; ++t) {
    coin.add(random() >> 63, t);
    CHECK_FALSE(coin.is_stale());
  }
  CHECK(coin.repeat_share() == Approx(0.5).margin(0.05));
  CHECK(coin.limit() >= 18);
}
