// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "faults.hpp"

namespace ephor::simulator {

// One operation of the trading cycle, in the order they run.
struct OperationLaw {
  std::string_view component;
  std::string_view name;
  double median_ms;
};
enum class Operation : std::uint8_t {
  build_features,
  predict,
  blend,
  risk_check,
  size_position,
  route_order,
  approve,
  count
};
inline constexpr std::size_t kOperationCount = static_cast<std::size_t>(Operation::count);
inline constexpr std::array<OperationLaw, kOperationCount> kOperations{{
    {"analyst", "build_features", 5.0},
    {"analyst", "predict", 7.5},
    {"strategist", "blend", 2.0},
    {"strategist", "risk_check", 1.3},
    {"tactician", "size_position", 1.6},
    {"tactician", "route_order", 5.5},
    {"supervisor", "approve", 0.7},
}};

struct Span {
  std::string_view component;
  std::string_view operation;
  std::string span_id;    // 16 hexadecimal digits
  std::string parent_id;  // empty: the root
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::string error;  // empty: ok
};

// The spans of one trading cycle: the root ares/trading_cycle, one "handle" per component below it,
// its operations below that. Latencies are log-normal. An operation that fails ends the cycle, and
// the spans around it carry its error.
struct CycleTrace {
  std::string trace_id;                                // 32 hexadecimal digits
  std::vector<Span> spans;                             // in the order they end; the root is last
  std::array<std::int64_t, kOperationCount> end_ns{};  // of each operation; 0: it did not succeed

  const Span& root() const { return spans.back(); }
  bool has_done(Operation operation) const {
    return end_ns[static_cast<std::size_t>(operation)] != 0;
  }
  std::int64_t end_of(Operation operation) const {
    return end_ns[static_cast<std::size_t>(operation)];
  }
};

CycleTrace trace_cycle(std::uint64_t seed, std::uint64_t step, std::int64_t start_ns,
                       const std::vector<Fault>& faults);

// Hexadecimal digits, lower case, `digits` wide.
std::string to_hex(std::uint64_t value, int digits);

}  // namespace ephor::simulator
