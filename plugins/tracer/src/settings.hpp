// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <ephor/json.hpp>
#include <string_view>

#include "regression_monitor.hpp"

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
      "description": "trace ids and correlation ids (each) remembered to count distinct ones, about 16 bytes an id"},
    "find_regressions": {"type": "boolean", "default": true,
      "description": "false: no latency_regression and no error_burst is looked for"},
    "latency_factor_min": {"type": "number", "minimum": 1.05, "maximum": 100, "default": 1.5,
      "description": "least ratio of the typical self time to its reference that is a regression"},
    "latency_increase_min_ms": {"type": "number", "minimum": 0, "maximum": 3600000, "default": 0.1,
      "description": "least increase of the typical self time, in milliseconds"},
    "latency_false_alarm_batches": {"type": "number", "minimum": 100, "maximum": 1e12, "default": 100000000,
      "description": "mean number of healthy batches of an operation between two false alarms"},
    "latency_batch_s": {"type": "number", "minimum": 1, "maximum": 86400, "default": 30,
      "description": "seconds of an operation's traffic averaged into one value"},
    "error_rate_rise_min": {"type": "number", "minimum": 0.001, "maximum": 1, "default": 0.03,
      "description": "least rise of the error rate that is a burst"},
    "error_rate_factor_min": {"type": "number", "minimum": 1, "maximum": 1000, "default": 3,
      "description": "least ratio of the error rate to the usual one"},
    "error_count_min": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 2,
      "description": "least number of failures since the onset"},
    "error_false_alarm_spans": {"type": "number", "minimum": 100, "maximum": 1e12, "default": 500000,
      "description": "mean number of healthy spans of an operation between two false alarms, roughly"},
    "finding_warmup_spans": {"type": "integer", "minimum": 8, "maximum": 1000000, "default": 100,
      "description": "spans of a new operation before its errors are judged; its durations after two fifths as many batches, at least 8 and at most 64"},
    "finding_persistence_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30,
      "description": "seconds a regression or burst has lasted before it is told"},
    "finding_accept_after_h": {"type": "number", "minimum": 1, "maximum": 87600, "default": 168,
      "description": "hours after which what does not recover is accepted as the new normal"},
    "max_findings": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 200,
      "description": "findings kept; the oldest closed ones make room"},
    "trace_linger_s": {"type": "number", "minimum": 0.001, "maximum": 3600, "default": 10,
      "description": "seconds without a further span after which a trace is judged"},
    "max_open_spans": {"type": "integer", "minimum": 100, "maximum": 10000000, "default": 20000,
      "description": "spans of unfinished traces kept; beyond it the trace that rested longest is judged early"}
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
  RegressionSettings regressions;

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
    read_regressions(json);
  }

 private:
  static std::int64_t nanoseconds(const Json& json, std::string_view name, double fallback,
                                  double unit_s) {
    return static_cast<std::int64_t>(member_or(json, name, fallback) * unit_s * 1e9);
  }

  void read_regressions(const Json& json) {
    regressions.is_enabled = member_or(json, "find_regressions", true);
    LatencySettings& latency = regressions.latency;
    latency.factor_min = member_or(json, "latency_factor_min", 1.5);
    latency.increase_min_ns = member_or(json, "latency_increase_min_ms", 0.1) * 1e6;
    latency.false_alarm_batches = member_or(json, "latency_false_alarm_batches", 1e8);
    latency.batch_ns = nanoseconds(json, "latency_batch_s", 30.0, 1.0);
    ErrorSettings& errors = regressions.errors;
    errors.rise_min = member_or(json, "error_rate_rise_min", 0.03);
    errors.factor_min = member_or(json, "error_rate_factor_min", 3.0);
    errors.errors_min = member_or<std::uint64_t>(json, "error_count_min", 2);
    errors.false_alarm_spans = member_or(json, "error_false_alarm_spans", 5e5);
    errors.warmup_spans = member_or<std::uint64_t>(json, "finding_warmup_spans", 100);
    latency.warmup_batches = static_cast<std::size_t>(errors.warmup_spans * 2 / 5);
    latency.persistence_ns = errors.persistence_ns =
        nanoseconds(json, "finding_persistence_s", 30.0, 1.0);
    latency.accept_after_ns = errors.accept_after_ns =
        nanoseconds(json, "finding_accept_after_h", 168.0, 3600.0);
    regressions.linger_ns = nanoseconds(json, "trace_linger_s", 10.0, 1.0);
    regressions.open_spans_max = member_or<std::size_t>(json, "max_open_spans", 20'000);
    regressions.findings_max = member_or<std::size_t>(json, "max_findings", 200);
  }
};

}  // namespace ephor::tracer
