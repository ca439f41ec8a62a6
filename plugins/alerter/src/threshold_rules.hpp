// SPDX-License-Identifier: Apache-2.0
//
// Rules of the user on metric series, with hysteresis in value and in time: a rule opens when its
// bound was breached for `for_s` of event time, and closes when values were back inside by the
// margin for as long. Points that come out of order are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "alert.hpp"
#include "settings.hpp"

namespace ephor::alerter {

struct MetricSample {
  std::string_view name;
  std::vector<std::pair<std::string_view, std::string_view>> labels;
  std::string_view unit;
  double value = 0.0;
  std::int64_t time_ns = 0;
};

class ThresholdRules {
 public:
  // `instance`: begins the finding ids.
  ThresholdRules(std::vector<RuleSettings> rules, std::string instance, std::size_t series_most);

  bool empty() const { return rules_.empty(); }
  bool watches(std::string_view metric_name) const;
  // Findings that opened or closed, in the order of rules.
  void add(const MetricSample& sample, std::vector<Finding>& findings);
  std::uint64_t unwatched_points() const { return unwatched_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Watch {
    std::int64_t last_ns = INT64_MIN;
    std::optional<std::int64_t> breached_ns;  // since when
    std::optional<std::int64_t> clear_ns;     // since when, while open
    bool is_open = false;
    std::string finding_id;
    double worst = 0.0;
    std::uint64_t breaches = 0;  // points
  };

  bool is_about(const RuleSettings& rule, const MetricSample& sample) const;
  Watch* watch_of(std::size_t rule, const MetricSample& sample);
  std::optional<Finding> step(const RuleSettings& rule, Watch& watch, const MetricSample& sample);
  Finding finding_of(const RuleSettings& rule, const Watch& watch,
                     const MetricSample& sample) const;

  std::vector<RuleSettings> rules_;
  std::string instance_;
  std::size_t series_most_;
  std::unordered_map<std::string, Watch, TextHash, std::equal_to<>> watches_;  // by key
  std::uint64_t unwatched_ = 0;
  std::string key_;  // scratch
};

}  // namespace ephor::alerter
