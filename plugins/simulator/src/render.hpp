// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "session.hpp"

namespace ephor::simulator {

enum class EventType : std::uint8_t {
  market,
  span,
  features,
  prediction,
  outcome,
  ensemble_decision,
  regime,
  decision_path,
  trade,
  metric,
  feature_importance,
  deployment,
  count
};
inline constexpr std::size_t kEventTypeCount = static_cast<std::size_t>(EventType::count);
inline constexpr std::array<std::string_view, kEventTypeCount> kEventTypeNames{
    "ephor.market",
    "ephor.span",
    "ephor.features",
    "ephor.prediction",
    "ephor.outcome",
    "ephor.ensemble_decision",
    "ephor.regime",
    "ephor.decision_path",
    "ephor.trade",
    "ephor.metric",
    "ephor.feature_importance",
    "ephor.deployment"};

// What went out, counted where it is written: the truth that others are checked against.
struct Tally {
  std::array<std::uint64_t, kEventTypeCount> events{};
  std::uint64_t error_spans = 0;
  std::array<std::uint64_t, kModelCount> outcomes{};
  std::array<std::uint64_t, kModelCount> correct{};

  std::uint64_t total() const;
};

struct Rendered {
  std::int64_t last_time_ns = 0;  // of the newest event
};

// Appends the cycle as CloudEvents lines in the order of their times. Ids are
// EPOCH-STEP-TYPE-INDEX: a cycle that is rendered twice has the same ids.
Rendered render(const SessionSettings& settings, const Cycle& cycle, std::string& out,
                Tally& tally);

}  // namespace ephor::simulator
