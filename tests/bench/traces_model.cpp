// SPDX-License-Identifier: Apache-2.0
#include "traces_model.hpp"

namespace ephor::bench {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): one well mixed number from a counter.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t number) : state_(mixed(mixed(seed) + number)) {}
  std::uint64_t bits() { return mixed(state_++); }
  std::uint64_t below(std::uint64_t bound) { return bits() % bound; }
  double share() { return static_cast<double>(bits() >> 11U) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

template <std::size_t size>
void put_bits(std::array<std::uint8_t, size>& bytes, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[at + i] = static_cast<std::uint8_t>(value >> (56U - 8U * i));
  }
}

std::string hex_number(std::uint64_t value, std::size_t digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; value >>= 4U) text[i] = kDigits[value & 15U];
  return text;
}

// Position 0 is the root; a parent stands before its children. Typical own time in microseconds.
struct Part {
  std::size_t service;
  std::string_view name;
  std::size_t parent;
  int kind;
  std::int64_t own_us;
};
constexpr std::size_t kSubmit = 8;
constexpr std::array<Part, kSpansPerTrace> kParts{{
    {0, "trading_cycle", 0, 2, 400},
    {1, "compute_features", 0, 1, 2500},
    {1, "predict", 0, 1, 1800},
    {1, "predict", 0, 1, 2200},
    {2, "ensemble_decision", 0, 1, 600},
    {2, "risk_check", 4, 1, 900},
    {3, "size_position", 0, 1, 500},
    {3, "plan_order", 6, 1, 700},
    {4, "submit_order", 7, 3, 6000},
    {4, "await_fill", 8, 3, 4000},
    {5, "store_decision", 0, 3, 1500},
}};

constexpr std::array<std::string_view, 8> kSymbols{"BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT",
                                                   "XRPUSDT", "ADAUSDT", "DOTUSDT", "LTCUSDT"};
constexpr std::array<std::string_view, 4> kTimeframes{"1m", "5m", "15m", "1h"};
constexpr std::array<std::string_view, 3> kModels{"xgb_flow", "lgbm_trend", "lstm_regime"};
constexpr std::array<std::string_view, 3> kStrategies{"momentum", "reversion", "breakout"};

// Own time of each part first, then down the tree: children one after the other, after half of the
// own time. Returns when the part ends.
std::int64_t lay_out(std::array<Span, kSpansPerTrace>& spans,
                     const std::array<std::int64_t, kSpansPerTrace>& own_ns, std::size_t part,
                     std::int64_t start_ns) {
  spans[part].start_ns = start_ns;
  std::int64_t at_ns = start_ns + own_ns[part] / 2;
  for (std::size_t child = part + 1; child < kSpansPerTrace; ++child) {
    if (kParts[child].parent == part) at_ns = lay_out(spans, own_ns, child, at_ns);
  }
  spans[part].end_ns = at_ns + own_ns[part] - own_ns[part] / 2;
  return spans[part].end_ns;
}

void add_attributes(Span& span, std::size_t part, const Trace& trace, std::string_view symbol,
                    std::string_view timeframe, std::string_view strategy, Draw& draw) {
  auto& all = span.attributes;
  all.reserve(11);
  all.push_back({"correlation.id", trace.correlation_id});
  all.push_back({"decision.id", trace.decision_id});
  all.push_back({"symbol", std::string(symbol)});
  all.push_back({"timeframe", std::string(timeframe)});
  all.push_back({"strategy", std::string(strategy)});
  all.push_back({"env", std::string("live")});
  all.push_back({"thread.id", static_cast<std::int64_t>(draw.below(16))});
  all.push_back({"cache.hit", draw.below(4) != 0});
  if (part == 2 || part == 3) {
    all.push_back({"model.name", std::string(kModels[draw.below(kModels.size())])});
  } else if (part >= 7 && part <= 9) {
    all.push_back({"order.id", trace.order_id});
  } else {
    all.push_back({"queue.depth", static_cast<std::int64_t>(draw.below(200))});
  }
  if (part >= 2 && part <= 4)
    all.push_back({"confidence", static_cast<double>(draw.below(10000)) / 1e4});
}

}  // namespace

std::string hex(const std::uint8_t* bytes, std::size_t size) {
  std::string text;
  text.reserve(size * 2);
  for (std::size_t i = 0; i < size; ++i) text += hex_number(bytes[i], 2);
  return text;
}

Trace make_trace(const TraceOptions& options, std::uint64_t number) {
  Draw draw(options.seed, number);
  Trace trace;
  std::array<std::uint8_t, 16> trace_id{};
  put_bits(trace_id, 0, draw.bits());
  put_bits(trace_id, 8, draw.bits() | 1U);
  trace.trace_id = hex(trace_id.data(), trace_id.size());
  const std::uint64_t ids = draw.bits();
  trace.correlation_id = "c-" + hex_number(ids, 12);
  trace.decision_id = "d-" + hex_number(mixed(ids), 10);
  trace.order_id = "o-" + hex_number(mixed(ids + 1), 10);
  const std::uint64_t lot = draw.below(1000);
  trace.is_error = lot < 20;
  trace.is_slow = lot >= 500 && lot < 505;
  const std::string_view symbol = kSymbols[draw.below(kSymbols.size())];
  const std::string_view timeframe = kTimeframes[draw.below(kTimeframes.size())];
  const std::string_view strategy = kStrategies[draw.below(kStrategies.size())];

  std::array<std::int64_t, kSpansPerTrace> own_ns{};
  for (std::size_t part = 0; part < kSpansPerTrace; ++part) {
    const double share = draw.share();
    own_ns[part] = static_cast<std::int64_t>(static_cast<double>(kParts[part].own_us) * 1000.0 *
                                             (0.5 + 1.5 * share * share * share));
    Span& span = trace.spans[part];
    span.trace_id = trace_id;
    put_bits(span.span_id, 0, draw.bits() | 1U);
    span.has_parent = part != 0;
    if (span.has_parent) span.parent_id = trace.spans[kParts[part].parent].span_id;
    span.service = kParts[part].service;
    span.name = kParts[part].name;
    span.kind = kParts[part].kind;
    add_attributes(span, part, trace, symbol, timeframe, strategy, draw);
  }
  if (trace.is_slow) {
    own_ns[kSubmit] += 1'000'000'000 + static_cast<std::int64_t>(draw.below(2'000'000'000));
  }
  const auto number_ns = static_cast<std::int64_t>(number) * options.step_ns;
  lay_out(trace.spans, own_ns, 0,
          options.base_ns + number_ns + static_cast<std::int64_t>(draw.below(500'000)));
  if (trace.is_error) {
    trace.spans[kSubmit].is_error = trace.spans[kSubmit].has_exception = true;
    trace.spans[0].is_error = true;
  }
  return trace;
}

}  // namespace ephor::bench
