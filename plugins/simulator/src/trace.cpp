// SPDX-License-Identifier: Apache-2.0
#include "trace.hpp"

#include "random.hpp"

namespace ephor::simulator {
namespace {

constexpr double kLatencySigma = 0.35;  // of the logarithm
constexpr double kGapMedianMs = 0.06;   // between two operations
constexpr double kErrorRate = 0.0015;   // per operation without a fault

std::int64_t to_ns(double ms) { return static_cast<std::int64_t>(ms * 1e6); }

std::string error_message(Random& random) {
  const auto number = [&](int least, int most) {
    return std::to_string(least + static_cast<int>(random.uniform() * (most - least)));
  };
  switch (static_cast<int>(random.uniform() * 4.0)) {
    case 0:
      return "order book snapshot timed out after " + number(200, 900) + " ms";
    case 1:
      return "rate limit exceeded, retry in " + number(1, 30) + " s";
    case 2:
      return "exchange closed the connection";
    default:
      return "stale quote: " + number(3, 40) + " updates behind";
  }
}

// Builds the trace operation by operation.
class Builder {
 public:
  Builder(std::uint64_t seed, std::uint64_t step, std::int64_t start_ns,
          const std::vector<Fault>& faults)
      : faults_(faults),
        latency_(seed, Stream::latency, step),
        errors_(seed, Stream::errors, step),
        identity_(seed, Stream::identity, step),
        start_ns_(start_ns),
        now_ns_(start_ns) {
    trace_.trace_id = to_hex(identity_.next() | 1, 16) + to_hex(identity_.next(), 16);
    root_id_ = new_span_id();
  }

  CycleTrace build() {
    for (std::size_t index = 0; index < kOperationCount && error_.empty(); ++index) {
      if (index == 0 || kOperations[index].component != kOperations[index - 1].component) {
        open_component();
      }
      run(index);
      const bool is_last = index + 1 == kOperationCount ||
                           kOperations[index + 1].component != kOperations[index].component;
      if (is_last || !error_.empty()) close_component(kOperations[index].component);
    }
    add("ares", "trading_cycle", root_id_, {}, start_ns_);
    return std::move(trace_);
  }

 private:
  std::string new_span_id() { return to_hex(identity_.next() | 1, 16); }

  void open_component() {
    component_id_ = new_span_id();
    component_start_ns_ = now_ns_;
  }
  void close_component(std::string_view component) {
    now_ns_ += to_ns(latency_.log_normal(kGapMedianMs, 0.5));
    add(component, "handle", component_id_, root_id_, component_start_ns_);
  }

  void run(std::size_t index) {
    const OperationLaw& law = kOperations[index];
    const std::string target = std::string(law.component) + "/" + std::string(law.name);
    now_ns_ += to_ns(latency_.log_normal(kGapMedianMs, 0.5));
    const std::int64_t start_ns = now_ns_;
    double latency_ms = latency_.log_normal(law.median_ms, kLatencySigma);
    if (const Fault* slow =
            active_fault(faults_, FaultKind::latency_regression, target, start_ns_)) {
      latency_ms *= slow->factor;
    }
    now_ns_ += to_ns(latency_ms);

    const Fault* burst = active_fault(faults_, FaultKind::error_burst, target, start_ns_);
    const bool is_failed = errors_.chance(burst != nullptr ? burst->rate : kErrorRate);
    std::string message = error_message(errors_);
    if (is_failed) error_ = std::move(message);
    if (!is_failed) trace_.end_ns[index] = now_ns_;
    add(law.component, law.name, new_span_id(), component_id_, start_ns);
  }

  void add(std::string_view component, std::string_view operation, std::string span_id,
           std::string parent_id, std::int64_t start_ns) {
    trace_.spans.push_back({component, operation, std::move(span_id), std::move(parent_id),
                            start_ns, now_ns_, error_});
  }

  const std::vector<Fault>& faults_;
  Random latency_;
  Random errors_;
  Random identity_;
  std::int64_t start_ns_;
  std::int64_t now_ns_;
  std::int64_t component_start_ns_ = 0;
  std::string root_id_;
  std::string component_id_;
  std::string error_;  // of the operation that failed
  CycleTrace trace_;
};

}  // namespace

std::string to_hex(std::uint64_t value, int digits) {
  std::string text(static_cast<std::size_t>(digits), '0');
  for (int at = digits - 1; at >= 0; --at, value >>= 4) {
    text[static_cast<std::size_t>(at)] = "0123456789abcdef"[value & 0xF];
  }
  return text;
}

CycleTrace trace_cycle(std::uint64_t seed, std::uint64_t step, std::int64_t start_ns,
                       const std::vector<Fault>& faults) {
  return Builder(seed, step, start_ns, faults).build();
}

}  // namespace ephor::simulator
