// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <ephor/json.hpp>
#include <string_view>

namespace ephor::tracer {

inline constexpr std::string_view kConfigSchema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "enable_tracing": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.advanced_tracer.enable_tracing",
      "description": "false: no span is read and no figure is kept"},
    "enable_correlation_tracking": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.tracking_system.enable_correlation_tracking",
      "description": "false: the table correlation_tracking is not written"},
    "trace_sampling_rate": {"type": "number", "minimum": 0, "maximum": 1, "default": 1.0,
      "x-ephor-from": "monitoring.advanced_tracer.trace_sampling_rate",
      "description": "share of traces whose summary is kept, chosen by trace id; figures per operation, errors and counts of traces stay exact"},
    "max_trace_history": {"type": "integer", "minimum": 0, "maximum": 10000000, "default": 10000,
      "x-ephor-from": "monitoring.advanced_tracer.max_trace_history",
      "description": "trace summaries kept; the oldest make room"},
    "max_tracking_history": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 50000,
      "x-ephor-from": "monitoring.tracking_system.max_tracking_history",
      "description": "correlation ids kept in memory; others are read back from their rows"},
    "max_operations": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 256,
      "description": "pairs of component and operation with figures of their own; further ones share one"},
    "max_error_groups": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000,
      "description": "groups of errors; further ones are counted together"},
    "max_distinct_ids": {"type": "integer", "minimum": 1, "maximum": 1000000000, "default": 8000000,
      "description": "trace ids and correlation ids (each) remembered to count distinct ones, about 16 bytes an id"}
  }})";

struct Settings {
  bool enable_tracing;
  bool enable_correlation_tracking;
  double trace_sampling_rate;
  std::size_t max_trace_history;
  std::size_t max_tracking_history;
  std::size_t max_operations;
  std::size_t max_error_groups;
  std::size_t max_distinct_ids;

  explicit Settings(std::string_view config) {
    const Json json = parse_json(config, "tracer configuration");
    enable_tracing = member_or(json, "enable_tracing", true);
    enable_correlation_tracking = member_or(json, "enable_correlation_tracking", true);
    trace_sampling_rate = member_or(json, "trace_sampling_rate", 1.0);
    max_trace_history = member_or<std::size_t>(json, "max_trace_history", 10'000);
    max_tracking_history = member_or<std::size_t>(json, "max_tracking_history", 50'000);
    max_operations = member_or<std::size_t>(json, "max_operations", 256);
    max_error_groups = member_or<std::size_t>(json, "max_error_groups", 1000);
    max_distinct_ids = member_or<std::size_t>(json, "max_distinct_ids", 8'000'000);
  }
};

}  // namespace ephor::tracer
