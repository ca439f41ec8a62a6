// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <string_view>

#include "metric_series.hpp"

namespace ephor::metrics {

inline constexpr std::string_view kConfigSchema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "max_history": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000,
      "x-ephor-from": "monitoring.metrics_dashboard.max_metric_history",
      "description": "points kept one by one per series, 16 bytes each; older ones remain as roll-ups"},
    "update_interval_s": {"type": "number", "minimum": 0.05, "maximum": 3600, "default": 5,
      "x-ephor-from": "monitoring.metrics_dashboard.update_interval",
      "description": "how often a page should ask for the dashboard; told in its answer"},
    "max_series": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000,
      "description": "series (name and labels) kept; when it is met, a series that has been idle makes room, otherwise points of a new series are only counted"},
    "idle_series_h": {"type": "number", "minimum": 0, "maximum": 1000000, "default": 24,
      "description": "a series whose last point is so many hours of event time behind the newest point of all may make room"},
    "keep_minutes_h": {"type": "integer", "minimum": 1, "maximum": 8760, "default": 12,
      "description": "hours of minute roll-ups kept per series, up to its newest point"},
    "keep_hours_d": {"type": "integer", "minimum": 1, "maximum": 3650, "default": 14,
      "description": "days of hour roll-ups kept per series"},
    "keep_days": {"type": "integer", "minimum": 1, "maximum": 36500, "default": 400,
      "description": "days of day roll-ups kept per series"},
    "trend_points": {"type": "integer", "minimum": 3, "maximum": 500, "default": 60,
      "description": "latest points a trend is estimated from; its cost grows with the square"}
  }})";

struct Settings {
  SeriesLimits limits;
  std::size_t max_series;
  std::int64_t idle_series_ns;
  std::size_t trend_points;
  double update_interval_s;

  explicit Settings(std::string_view config) {
    const Json json = parse_json(config, "metrics configuration");
    limits.history_points = member_or<std::size_t>(json, "max_history", 1000);
    limits.keep_ns = {member_or<std::int64_t>(json, "keep_minutes_h", 12) * kHourNs,
                      member_or<std::int64_t>(json, "keep_hours_d", 14) * kDayNs,
                      member_or<std::int64_t>(json, "keep_days", 400) * kDayNs};
    max_series = member_or<std::size_t>(json, "max_series", 1000);
    idle_series_ns = static_cast<std::int64_t>(member_or(json, "idle_series_h", 24.0) *
                                               static_cast<double>(kHourNs));
    trend_points = member_or<std::size_t>(json, "trend_points", 60);
    update_interval_s = member_or(json, "update_interval_s", 5.0);
  }
};

}  // namespace ephor::metrics
