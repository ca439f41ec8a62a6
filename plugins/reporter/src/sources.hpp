// SPDX-License-Identifier: Apache-2.0
//
// What a report is made from: the answers of other plugins' queries, and nothing else. A plugin
// that is not there, or does not know something, leaves a gap that the report calls "no data".
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model.hpp"

namespace ephor::reporter {

// Asks one query; throws what it failed with. `as_of` receives how far the provider had read.
using Ask = std::function<std::string(std::string_view query, std::string_view request_json,
                                      std::uint64_t& as_of)>;

struct Source {
  SourceNote note;
  Json answer;  // null: none
};

// Of the period and of the one before it, of equal length.
struct Pair {
  Source now;
  Source before;
};

struct Sources {
  Pair performance;                // trade_tracker.performance
  Pair models;                     // ml_monitor.models
  Pair tracing;                    // tracer.performance
  Source trades;                   // trade_tracker.trades
  Source errors;                   // tracer.errors
  Source ensembles;                // ensemble_tracker.ensembles
  Source regimes;                  // ensemble_tracker.regimes
  Source alerts;                   // alerter.alerts
  Source log;                      // the host's own counters, since it was started
  std::vector<Json> best_trades;   // closed in the period; no trade is in both
  std::vector<Json> worst_trades;  // the worst first
  std::vector<Json> findings;  // of every *.summary, that were open within the period; open first
  std::vector<SourceNote> summaries;
};

struct Window {
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::int64_t previous_from_ns = 0;  // the period before ends where this one begins
  std::int32_t offset_s = 0;          // of the zone that times are written in, east positive
  std::string zone = "UTC";
};

inline constexpr std::size_t kTradesShown = 5;  // best, and worst

// `queries`: the names that are provided; `log`: the host's counters. Blocks on each question.
Sources collect(const Ask& ask, const std::vector<std::string>& queries, const Window& window,
                Source log);

// Counters of the host, picked from the Prometheus text of ephor.metrics/1:
// {"events", "duplicates", "late", "rejected", "commits"}, null where there is no such series.
Json log_counters(std::string_view prometheus_text);

// ---- reading answers: what is absent or of another type is no data

const Json* find(const Json& json, std::string_view pointer);
std::optional<double> real(const Json& json, std::string_view pointer);
std::optional<std::int64_t> integer(const Json& json, std::string_view pointer);
std::string text(const Json& json, std::string_view pointer);
std::optional<std::int64_t> time(const Json& json, std::string_view pointer);

Value value(const std::optional<double>& figure);
Value value(const std::optional<std::int64_t>& figure);

}  // namespace ephor::reporter
