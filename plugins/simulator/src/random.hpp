// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace ephor::simulator {

// What a stream of random numbers is for. Each concern has its own, so that a fault in one never
// moves another: the market of a seed is the same with and without faults.
enum class Stream : std::uint64_t {
  market,
  models,
  latency,
  errors,
  trading,
  identity,
  importance
};

// Pseudo-random numbers of one (seed, stream, step), reproducible on every standard library.
//
// xoshiro256** (Blackman & Vigna 2021, ACM Trans. Math. Softw. 47(4)), seeded through SplitMix64
// (Steele, Lea & Flood 2014). Made anew for each step: there is no state to save.
class Random {
 public:
  Random(std::uint64_t seed, Stream stream, std::uint64_t step) {
    std::uint64_t mixed = seed;
    mixed = split_mix(mixed) ^ (static_cast<std::uint64_t>(stream) + 1) * 0xD1342543DE82EF95u;
    mixed = split_mix(mixed) ^ step;
    for (std::uint64_t& word : state_) word = split_mix(mixed);
  }

  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  // In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  bool chance(double probability) { return uniform() < probability; }
  // Standard normal (Box & Muller 1958; the second value is not kept, so a draw is stateless).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }
  double log_normal(double median, double sigma) { return median * std::exp(sigma * normal()); }

 private:
  static std::uint64_t rotate(std::uint64_t value, int by) {
    return (value << by) | (value >> (64 - by));
  }
  static std::uint64_t split_mix(std::uint64_t& state) {
    state += 0x9E3779B97F4A7C15u;
    std::uint64_t value = state;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
  }

  std::uint64_t state_[4];
};

}  // namespace ephor::simulator
