// SPDX-License-Identifier: Apache-2.0
#include "faults.hpp"

#include <algorithm>
#include <ephor/plugin.hpp>

#include "features.hpp"
#include "models.hpp"
#include "trace.hpp"

namespace ephor::simulator {
namespace {

struct Defaults {
  std::string_view target;
  double factor;
  double rate;
};

// In the order of FaultKind. A feature drift must stand out of the feature's own wandering,
// hence 3.
constexpr std::array<Defaults, kFaultKindCount> kDefaults{{
    {"volume_z", 3.0, 0.0},
    {"xgb_flow", 1.0, 0.0},
    {"tactician/size_position", 6.0, 0.0},
    {"strategist/risk_check", 1.0, 0.2},
    {"lstm_sequence", 4.0, 0.0},
    {"forest_swing", 1.0, 0.0},
}};

template <typename List>
std::string joined(const List& names) {
  std::string text;
  for (const auto& name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

FaultKind kind_from(std::string_view text) {
  const auto found = std::find(kFaultKindNames.begin(), kFaultKindNames.end(), text);
  if (found != kFaultKindNames.end()) {
    return static_cast<FaultKind>(found - kFaultKindNames.begin());
  }
  throw Error(EPHOR_INVALID,
              "kind: found '" + std::string(text) + "', expected one of " + joined(kFaultKindNames),
              "/kind");
}

}  // namespace

std::vector<std::string> targets_of(FaultKind kind) {
  std::vector<std::string> targets;
  switch (kind) {
    case FaultKind::feature_drift:
      targets.assign(kFeatureNames.begin(), kFeatureNames.end());
      break;
    case FaultKind::latency_regression:
    case FaultKind::error_burst:
      for (const OperationLaw& operation : kOperations) {
        targets.push_back(std::string(operation.component) + "/" + std::string(operation.name));
      }
      break;
    default:
      for (const ModelLaw& model : kModels) targets.emplace_back(model.id);
  }
  return targets;
}

Fault make_fault(std::string_view kind, std::string_view target) {
  Fault fault;
  fault.kind = kind_from(kind);
  const Defaults& defaults = kDefaults[static_cast<std::size_t>(fault.kind)];
  fault.target = target.empty() ? defaults.target : target;
  fault.factor = defaults.factor;
  fault.rate = defaults.rate;
  const auto targets = targets_of(fault.kind);
  if (std::find(targets.begin(), targets.end(), fault.target) == targets.end()) {
    throw Error(EPHOR_INVALID,
                "target: found '" + fault.target + "', expected for " + std::string(kind) +
                    " one of " + joined(targets),
                "/target");
  }
  return fault;
}

void check_strength(const Fault& fault) {
  if (!(fault.factor >= -100.0 && fault.factor <= 100.0) ||
      (fault.kind != FaultKind::feature_drift && fault.factor <= 0.0)) {
    throw Error(EPHOR_INVALID,
                "factor: found " + std::to_string(fault.factor) +
                    ", expected more than 0 and at most 100 (feature_drift: -100 to 100)",
                "/factor");
  }
  if (!(fault.rate >= 0.0 && fault.rate <= 1.0)) {
    throw Error(EPHOR_INVALID, "rate: found " + std::to_string(fault.rate) + ", expected 0 to 1",
                "/rate");
  }
}

const Fault* active_fault(const std::vector<Fault>& faults, FaultKind kind, std::string_view target,
                          std::int64_t time_ns) {
  const auto found = std::find_if(faults.rbegin(), faults.rend(), [&](const Fault& fault) {
    return fault.kind == kind && fault.target == target && fault.is_active(time_ns);
  });
  return found == faults.rend() ? nullptr : &*found;
}

}  // namespace ephor::simulator
