// SPDX-License-Identifier: Apache-2.0
//
// Traces of a trading system, made from a seed: trace number i is always the same, so whoever knows
// the seed knows what was sent, without a list. Eleven spans over six services, one trading cycle
// each; of a thousand traces twenty fail and five are slow (longer than a second).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ephor::bench {

inline constexpr std::size_t kSpansPerTrace = 11;
inline constexpr std::size_t kServiceCount = 6;
inline constexpr std::array<std::string_view, kServiceCount> kServices{
    "supervisor", "analyst", "strategist", "tactician", "exchange", "database"};

struct TraceOptions {
  std::uint64_t seed = 1;
  std::int64_t base_ns = 0;       // when trace 0 begins, since the Unix epoch
  std::int64_t step_ns = 550000;  // from one trace's begin to the next: 20,000 spans/s
};

using AttributeValue = std::variant<std::string, std::int64_t, double, bool>;
struct Attribute {
  std::string_view name;
  AttributeValue value;
};

struct Span {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> span_id{};
  std::array<std::uint8_t, 8> parent_id{};
  bool has_parent = false;
  std::size_t service = 0;  // of kServices
  std::string_view name;
  int kind = 1;  // as in OTLP: 1 internal, 2 server, 3 client
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  bool is_error = false;
  bool has_exception = false;  // an event "exception" at its end
  std::vector<Attribute> attributes;
};

struct Trace {
  std::string trace_id;  // hex
  bool is_error = false;
  bool is_slow = false;
  std::string correlation_id;
  std::string decision_id;
  std::string order_id;
  std::array<Span, kSpansPerTrace> spans;

  std::int64_t duration_ns() const { return spans[0].end_ns - spans[0].start_ns; }
};

inline constexpr std::string_view kExceptionType = "exchange.OrderRejected";
inline constexpr std::string_view kExceptionMessage = "insufficient margin for the order";

Trace make_trace(const TraceOptions& options, std::uint64_t number);

std::string hex(const std::uint8_t* bytes, std::size_t size);

}  // namespace ephor::bench
