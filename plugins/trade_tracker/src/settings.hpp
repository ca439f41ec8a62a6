// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace ephor::trade_tracker {

inline constexpr std::string_view kConfigSchema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "max_trades_in_memory": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000,
      "description": "trades kept in memory; others are read back from the table trades"},
    "max_decisions_in_memory": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 50000,
      "x-ephor-from": "monitoring.tracking_system.max_tracking_history",
      "description": "decisions kept in memory; others are read back from the table trade_decisions"},
    "keep_decision_paths": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.tracking_system.enable_decision_path_tracking",
      "description": "false: decision paths are not joined with their trades"},
    "max_path_bytes": {"type": "integer", "minimum": 100, "maximum": 1000000, "default": 4096,
      "description": "a decision path beyond this size as JSON is not kept"},
    "max_joins": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000,
      "description": "executions and orders whose decision is remembered, and trades that wait for theirs"},
    "max_groups": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
      "description": "regimes, symbols, close reasons and models with figures of their own; further ones share one"},
    "max_curve_points": {"type": "integer", "minimum": 10, "maximum": 10000000, "default": 50000,
      "description": "latest closes held one by one for the equity curve; older ones are thinned"},
    "max_trades_scanned": {"type": "integer", "minimum": 1, "maximum": 100000000, "default": 200000,
      "description": "trades one question may go through; figures that need more of them are null"},
    "max_distinct_ids": {"type": "integer", "minimum": 1, "maximum": 1000000000, "default": 8000000,
      "description": "trade ids and decision ids (each) remembered to count distinct ones, about 16 bytes an id"},
    "equity_metric": {"type": "string", "default": "portfolio.equity",
      "description": "name of the ephor.metric that tells the account's equity; empty: none"},
    "max_equity_days": {"type": "integer", "minimum": 2, "maximum": 100000, "default": 4096,
      "description": "days of equity kept; the oldest make room"},
    "initial_equity": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": null,
      "description": "equity before the first trade, where no metric tells it; null: not known"},
    "periods_per_year": {"type": "number", "exclusiveMinimum": 0, "maximum": 366, "default": 365,
      "description": "days a year the market is open, to annualise daily returns: 365 for crypto, 252 for stocks"},
    "max_drawdown_alert": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1, "default": null,
      "description": "share of peak equity whose loss is a finding; null: none"},
    "max_drawdown_alert_amount": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": null,
      "description": "loss since the peak, in the account's currency, that is a finding; null: none"},
    "max_findings": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 100,
      "description": "findings kept; the oldest make room"}
  }})";

struct Settings {
  std::size_t max_trades_in_memory;
  std::size_t max_decisions_in_memory;
  bool keep_decision_paths;
  std::size_t max_path_bytes;
  std::size_t max_joins;
  std::size_t max_groups;
  std::size_t max_curve_points;
  std::size_t max_trades_scanned;
  std::size_t max_distinct_ids;
  std::string equity_metric;
  std::size_t max_equity_days;
  std::optional<double> initial_equity;
  double periods_per_year;
  std::optional<double> max_drawdown_alert;
  std::optional<double> max_drawdown_alert_amount;
  std::size_t max_findings;

  explicit Settings(std::string_view config) {
    const Json json = parse_json(config, "trade_tracker configuration");
    max_trades_in_memory = member_or<std::size_t>(json, "max_trades_in_memory", 20'000);
    max_decisions_in_memory = member_or<std::size_t>(json, "max_decisions_in_memory", 50'000);
    keep_decision_paths = member_or(json, "keep_decision_paths", true);
    max_path_bytes = member_or<std::size_t>(json, "max_path_bytes", 4096);
    max_joins = member_or<std::size_t>(json, "max_joins", 20'000);
    max_groups = member_or<std::size_t>(json, "max_groups", 1000);
    max_curve_points = member_or<std::size_t>(json, "max_curve_points", 50'000);
    max_trades_scanned = member_or<std::size_t>(json, "max_trades_scanned", 200'000);
    max_distinct_ids = member_or<std::size_t>(json, "max_distinct_ids", 8'000'000);
    equity_metric = member_or<std::string>(json, "equity_metric", "portfolio.equity");
    max_equity_days = member_or<std::size_t>(json, "max_equity_days", 4096);
    initial_equity = optional_number(json, "initial_equity");
    periods_per_year = member_or(json, "periods_per_year", 365.0);
    max_drawdown_alert = optional_number(json, "max_drawdown_alert");
    max_drawdown_alert_amount = optional_number(json, "max_drawdown_alert_amount");
    max_findings = member_or<std::size_t>(json, "max_findings", 100);
  }

 private:
  static std::optional<double> optional_number(const Json& json, const char* name) {
    const double value = member_or(json, name, 0.0);
    return value > 0.0 ? std::optional(value) : std::nullopt;
  }
};

}  // namespace ephor::trade_tracker
