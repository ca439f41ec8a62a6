// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::simulator {

enum class FaultKind : std::uint8_t {
  feature_drift,       // target: a feature, shifted by `factor` of its standard deviations
  broken_model,        // target: a model, whose version 1.1.0 says nothing true
  latency_regression,  // target: component/operation, `factor` times slower
  error_burst,         // target: component/operation, fails at `rate`
  overconfidence,      // target: a model, probabilities to the power `factor`
  stale_output,        // target: a model that repeats one probability vector
  count
};
inline constexpr std::size_t kFaultKindCount = static_cast<std::size_t>(FaultKind::count);
inline constexpr std::array<std::string_view, kFaultKindCount> kFaultKindNames{
    "feature_drift", "broken_model",   "latency_regression",
    "error_burst",   "overconfidence", "stale_output"};
inline std::string_view name_of(FaultKind kind) {
  return kFaultKindNames[static_cast<std::size_t>(kind)];
}

inline constexpr std::int64_t kNoEnd = std::numeric_limits<std::int64_t>::max();

// Active while from_ns <= time < to_ns.
struct Fault {
  FaultKind kind = FaultKind::feature_drift;
  std::string target;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = kNoEnd;
  double factor = 1.0;
  double rate = 0.0;

  bool is_active(std::int64_t time_ns) const { return from_ns <= time_ns && time_ns < to_ns; }
  bool has_factor() const {
    return kind == FaultKind::feature_drift || kind == FaultKind::latency_regression ||
           kind == FaultKind::overconfidence;
  }

  template <typename Archive>
  void visit(Archive& archive) {
    archive(kind, target, from_ns, to_ns, factor, rate);
  }
};

// A fault with the default target, factor and rate of its kind. An empty `target` means the default
// one. Throws ephor::Error that lists what would do if kind or target is unknown.
Fault make_fault(std::string_view kind, std::string_view target);
// Throws ephor::Error unless factor and rate are in range.
void check_strength(const Fault& fault);
std::vector<std::string> targets_of(FaultKind kind);

// The fault of this kind and target that is active then, or nullptr. The latest one wins.
const Fault* active_fault(const std::vector<Fault>& faults, FaultKind kind, std::string_view target,
                          std::int64_t time_ns);

}  // namespace ephor::simulator
