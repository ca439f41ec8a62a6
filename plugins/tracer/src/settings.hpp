// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <ephor/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "regression_monitor.hpp"
#include "sampling.hpp"
#include "trace_analysis.hpp"
#include "trace_store.hpp"

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
    "max_traces_in_memory": {"type": "integer", "minimum": 512, "maximum": 10000000, "default": 50000,
      "description": "trace summaries kept in memory, about 250 bytes each; older ones are read back from their rows"},
    "trace_retention_days": {"type": "number", "minimum": 0, "maximum": 36500, "default": 0,
      "description": "days of event time after which summaries go, some hundred at a time; 0: max_trace_history alone decides"},
    "max_service_operations": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 10000,
      "description": "combinations of service, operation and span kind that are listed"},
    "join_attributes": {"type": "array", "items": {"type": "string"}, "default": [],
      "description": "span attributes that ingest.join_attributes names too: a search by them is answered by the journal's index"},
    "sampling": {"type": "object", "additionalProperties": false, "default": {},
      "description": "which traces are kept beyond the journal's retention, decided when they have rested for trace_linger_s",
      "properties": {
        "tail": {"type": "boolean", "default": false,
          "description": "true: traces are judged and those kept are archived; false: every trace is as good as another"},
        "baseline_rate": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.05,
          "description": "share kept of the traces that nothing else keeps, by trace id"},
        "rates": {"type": "array", "default": [],
          "description": "other shares for traces with such a span; the greatest that matches counts",
          "items": {"type": "object", "additionalProperties": false, "required": ["rate"],
            "properties": {
              "service": {"type": "string", "description": "of the span; without it any"},
              "component": {"type": "string", "description": "of the span; without it any"},
              "operation": {"type": "string", "description": "of the span; without it any"},
              "symbol": {"type": "string", "description": "of the span; without it any"},
              "rate": {"type": "number", "minimum": 0, "maximum": 1,
                "description": "share kept of the traces with such a span, by trace id"}}}},
        "keep_errors": {"type": "boolean", "default": true,
          "description": "every trace with a failed span is kept"},
        "slow_factor": {"type": "number", "minimum": 0, "maximum": 1000, "default": 1.5,
          "description": "a trace is slow if a span takes this many times the p99 of its operation; 0: none is"},
        "slow_spans_min": {"type": "integer", "minimum": 10, "maximum": 1000000, "default": 200,
          "description": "spans of an operation before it has a p99"},
        "rare_path_below": {"type": "integer", "minimum": 0, "maximum": 1000000, "default": 5,
          "description": "the first so many traces with the same set of operations are kept; 0: none for that"},
        "keep_losing_trades": {"type": "boolean", "default": true,
          "description": "traces that share an id with a trade whose pnl is below 0 are kept, if it comes later too"},
        "losing_trade_h": {"type": "number", "minimum": 0, "maximum": 87600, "default": 24,
          "description": "hours between a trace and the losing trade that still keeps it"},
        "archive": {"type": "boolean", "default": true,
          "description": "false: the decision is stored, the spans stay in the journal only"},
        "max_archived_traces": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 100000,
          "description": "archived traces; the oldest make room"}}},
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
    "max_services": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 256,
      "description": "services with figures of their own; further ones share one"},
    "max_edges": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 1024,
      "description": "pairs of calling and called services, and as many of operations, with figures of their own; further ones share one"},
    "max_root_operations": {"type": "integer", "minimum": 0, "maximum": 65536, "default": 64,
      "description": "operations that begin traces whose critical paths are summed; traces of further ones are counted"},
    "trace_timeout_s": {"type": "number", "minimum": 0.001, "maximum": 86400, "default": 300,
      "description": "seconds of event time after which a trace that is not whole is timed out"},
    "max_active_traces": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 5000,
      "description": "traces that are not whole kept; beyond it the oldest is given up and counted"},
    "correlate_outcomes": {"type": "boolean", "default": true,
      "description": "false: trades and outcomes are not read, latency is not compared with them"},
    "max_outcomes": {"type": "integer", "minimum": 10, "maximum": 1000000, "default": 5000,
      "description": "trades kept to be compared with latency, as many realised returns, and as many finished traces that may yet have one; the oldest make room"},
    "error_gone_after_h": {"type": "number", "minimum": 0.01, "maximum": 87600, "default": 24,
      "description": "hours without an error of a group after which it is gone; if it comes back, it has regressed"},
    "max_open_spans": {"type": "integer", "minimum": 100, "maximum": 10000000, "default": 20000,
      "description": "spans of unfinished traces kept; beyond it the trace that rested longest is judged early"}
  }})";

struct Settings {
  bool enable_tracing;
  bool enable_correlation_tracking;
  double trace_sampling_rate;
  TraceStoreSettings traces;
  std::size_t max_service_operations;
  std::vector<std::string> join_attributes;
  SamplingSettings sampling;
  std::size_t max_tracking_history;
  std::size_t max_operations;
  std::size_t max_error_groups;
  std::size_t max_distinct_ids;
  RegressionSettings regressions;
  AnalysisSettings analysis;
  std::int64_t error_gone_ns;

  explicit Settings(std::string_view config) {
    Json json = parse_json(config, "tracer configuration");
    // What is nested is taken out at once: destroying it within so many members takes more memory
    // than the text had, and a destructor may not fail.
    const Json sampled = take(json, "sampling", Json::object());
    join_attributes = take(json, "join_attributes", Json::array()).get<std::vector<std::string>>();
    enable_tracing = member_or(json, "enable_tracing", true);
    enable_correlation_tracking = member_or(json, "enable_correlation_tracking", true);
    trace_sampling_rate = member_or(json, "trace_sampling_rate", 1.0);
    traces.history_max = member_or<std::size_t>(json, "max_trace_history", 10'000);
    traces.memory_max = member_or<std::size_t>(json, "max_traces_in_memory", 50'000);
    traces.keep_ns = nanoseconds(json, "trace_retention_days", 0.0, 86'400.0);
    max_service_operations = member_or<std::size_t>(json, "max_service_operations", 10'000);
    max_tracking_history = member_or<std::size_t>(json, "max_tracking_history", 50'000);
    max_operations = member_or<std::size_t>(json, "max_operations", 256);
    max_error_groups = member_or<std::size_t>(json, "max_error_groups", 1000);
    max_distinct_ids = member_or<std::size_t>(json, "max_distinct_ids", 8'000'000);
    traces.ids_max = max_distinct_ids;
    read_regressions(json);
    read_sampling(sampled);
    read_analysis(json);
  }

 private:
  static Json take(Json& json, const char* name, Json fallback) {
    const auto found = json.find(name);
    if (found == json.end()) return fallback;
    return std::exchange(*found, nullptr);
  }

  static std::int64_t nanoseconds(const Json& json, std::string_view name, double fallback,
                                  double unit_s) {
    return static_cast<std::int64_t>(member_or(json, name, fallback) * unit_s * 1e9);
  }

  void read_analysis(const Json& json) {
    analysis.graph.services_max = member_or<std::size_t>(json, "max_services", 256);
    analysis.graph.edges_max = member_or<std::size_t>(json, "max_edges", 1024);
    analysis.root_operations_max = member_or<std::size_t>(json, "max_root_operations", 64);
    analysis.trace_timeout_ns = nanoseconds(json, "trace_timeout_s", 300.0, 1.0);
    analysis.active_traces_max = member_or<std::size_t>(json, "max_active_traces", 5000);
    const bool is_correlating = member_or(json, "correlate_outcomes", true);
    analysis.outcomes_max = is_correlating ? member_or<std::size_t>(json, "max_outcomes", 5000) : 0;
    error_gone_ns = nanoseconds(json, "error_gone_after_h", 24.0, 3600.0);
  }

  // Behind read_regressions: a trace rests as long for both.
  void read_sampling(const Json& json) {
    sampling.is_tail = member_or(json, "tail", false);
    sampling.baseline_rate = member_or(json, "baseline_rate", 0.05);
    for (const Json& rule : json.value("rates", Json::array())) {
      sampling.rates.push_back({request_text(rule, "service"), request_text(rule, "component"),
                                request_text(rule, "operation"), request_text(rule, "symbol"),
                                member_or(rule, "rate", 1.0)});
    }
    sampling.keeps_errors = member_or(json, "keep_errors", true);
    sampling.slow_factor = member_or(json, "slow_factor", 1.5);
    sampling.slow_spans_min = member_or<std::uint64_t>(json, "slow_spans_min", 200);
    sampling.rare_path_below = member_or<std::uint64_t>(json, "rare_path_below", 5);
    sampling.keeps_losing_trades = member_or(json, "keep_losing_trades", true);
    sampling.losing_trade_ns = nanoseconds(json, "losing_trade_h", 24.0, 3600.0);
    sampling.linger_ns = regressions.linger_ns;
    sampling.open_spans_max = regressions.open_spans_max;
    sampling.archives = sampling.is_tail && member_or(json, "archive", true);
    sampling.archived_traces_max = member_or<std::size_t>(json, "max_archived_traces", 100'000);
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
