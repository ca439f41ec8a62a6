// SPDX-License-Identifier: Apache-2.0
#include "paths.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ensemble_tracker {
namespace {

bool holds(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void Path::clear() {
  steps.clear();
  thresholds.clear();
  final_decision = {};
}

void PathRules::view(const Path& path, PathView& out) const {
  out.gates.clear();
  out.first_failed = SIZE_MAX;
  out.closest = SIZE_MAX;
  out.meta_score = kUnknown;
  const auto threshold = [&](std::string_view name) -> const std::pair<std::string_view, double>* {
    for (const auto& one : path.thresholds) {
      if (one.first == name) return &one;
    }
    return nullptr;
  };
  const auto* buy = threshold("buy");
  const auto* sell = threshold("sell");
  for (const PathStep& step : path.steps) {
    Gate gate;
    gate.step = step.name;
    gate.weight = step.weight;
    if (std::isfinite(step.weight)) {
      const auto* found = threshold(step.name);
      if (const auto alias = step_thresholds_.find(step.name);
          found == nullptr && alias != step_thresholds_.end()) {
        found = threshold(alias->second);
      }
      if (found != nullptr) {
        gate.threshold_name = found->first;
        gate.threshold = found->second;
        gate.margin = step.weight - found->second;
      } else if (buy != nullptr && sell != nullptr && holds(score_steps_, step.name)) {
        const auto* nearer = step.weight - buy->second >= sell->second - step.weight ? buy : sell;
        gate.threshold_name = nearer->first;
        gate.threshold = nearer->second;
        gate.margin = nearer == buy ? step.weight - buy->second : sell->second - step.weight;
      }
      if (buy != nullptr && sell != nullptr && holds(meta_steps_, step.name)) {
        out.meta_score = step.weight;
      }
    }
    const std::size_t at = out.gates.size();
    if (std::isfinite(gate.margin)) {
      if (gate.margin < 0 && out.first_failed == SIZE_MAX) out.first_failed = at;
      if (out.closest == SIZE_MAX ||
          std::abs(gate.margin) < std::abs(out.gates[out.closest].margin)) {
        out.closest = at;
      }
    }
    out.gates.push_back(gate);
  }
}

void PathCounts::add(const PathView& path, Names& names, bool is_held, bool is_refused) {
  ++paths;
  if (is_held) ++held;
  if (is_refused) ++refused;
  if (is_refused && path.first_failed == SIZE_MAX) ++unexplained;
  for (std::size_t i = 0; i < path.gates.size(); ++i) {
    const Gate& gate = path.gates[i];
    NameId name = names.intern(gate.step);
    if (name == kNoName) continue;
    if (steps.size() >= kStepsMax && !steps.contains(name)) name = 0;
    StepCounts& step = steps[name];
    ++step.seen;
    if (!std::isfinite(gate.margin)) continue;
    ++step.gated;
    step.margin_sum += gate.margin;
    if (gate.margin < 0) ++step.failed;
    if (is_held && i == path.first_failed) ++step.stopped;
  }
}

void write(StateWriter& out, const PathCounts& counts) {
  out.varint(counts.paths).varint(counts.held).varint(counts.refused).varint(counts.unexplained);
  out.varint(counts.steps.size());
  for (const auto& [name, step] : counts.steps) {
    out.varint(name).varint(step.seen).varint(step.gated).varint(step.failed);
    out.varint(step.stopped).f64(step.margin_sum);
  }
}

void read(StateReader& in, PathCounts& counts) {
  counts.paths = in.varint();
  counts.held = in.varint();
  counts.refused = in.varint();
  counts.unexplained = in.varint();
  counts.steps.clear();
  for (std::size_t left = in.count(13); left > 0; --left) {
    StepCounts& step = counts.steps[static_cast<NameId>(in.varint())];
    step.seen = in.varint();
    step.gated = in.varint();
    step.failed = in.varint();
    step.stopped = in.varint();
    step.margin_sum = in.f64();
  }
}

}  // namespace ephor::ensemble_tracker
