// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "alert.hpp"

namespace ephor::alerter {

struct WebhookSettings {
  std::string name;
  std::string url;
  Severity min_severity = Severity::warning;
  std::map<std::string, std::string> headers;
  double timeout_s = 5.0;
};

// A series of ephor.metric is outside of its bounds.
struct RuleSettings {
  std::string name;  // of the metric
  std::map<std::string, std::string> labels;
  std::optional<double> above;
  std::optional<double> below;
  double clear_margin = 0.0;
  std::int64_t for_ns = 0;
  Severity severity = Severity::warning;
  std::string summary;
};

struct Settings {
  std::vector<std::string> topics;
  std::vector<RuleSettings> rules;
  std::vector<WebhookSettings> webhooks;
  std::size_t max_alerts;
  std::size_t max_silences;
  std::size_t max_rule_series;
  std::int64_t max_age_ns;
  std::uint64_t max_attempts;
  std::int64_t retry_least_ns;
  std::int64_t retry_most_ns;
  std::int64_t settle_ns;

  // Throws ephor::Error with the place of what is wrong.
  explicit Settings(std::string_view config);
};

}  // namespace ephor::alerter
