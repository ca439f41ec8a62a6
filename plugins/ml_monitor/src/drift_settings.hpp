// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "adwin.hpp"
#include "cohort.hpp"
#include "page_hinkley.hpp"
#include "peer_groups.hpp"
#include "psi.hpp"

namespace ephor::ml_monitor {

struct DriftSettings {
  bool is_enabled = true;
  double threshold = 0.1;           // least effect size worth a finding
  double false_alarm_budget = 0.3;  // per figure and 10,000 blocks
  std::size_t findings_max = 500;
  std::size_t features_max = 512;
  Adwin::Limits adwin;
  PageHinkley::Limits page_hinkley;
  Cohort::Limits cohort;
  PeerGroups::Limits groups;
  PsiForm psi;

  double deviate() const {
    return deviate_limit(false_alarm_budget, cohort.shift.k_max - cohort.shift.k_min + 1);
  }
};

struct RetrainingSettings {
  bool is_enabled = true;
  std::int64_t persistence_ns = 1'800'000'000'000;  // a finding must have been open this long
  std::int64_t cooldown_ns = 86'400'000'000'000;    // between two requests for one model
  std::size_t requests_max = 1'000;
};

}  // namespace ephor::ml_monitor
