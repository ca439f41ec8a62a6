// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ephor/times.hpp>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace ephor::tracer {
namespace {

std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name) {
  const std::string text = request_text(request, name);
  if (text.empty()) return std::nullopt;
  if (const auto time = parse_time(text)) return time;
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found \"" + text +
                  "\", expected an RFC 3339 time such as 2017-11-07T06:29:00Z",
              "/" + std::string(name));
}

// "30s", "1m", "4h", "1d".
std::optional<std::int64_t> window_parameter(const Json& request) {
  const std::string text = request_text(request, "window");
  if (text.empty()) return std::nullopt;
  std::int64_t amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::int64_t seconds = unit == "s"   ? 1
                               : unit == "m" ? 60
                               : unit == "h" ? 3600
                               : unit == "d" ? 86'400
                                             : 0;
  if (error != std::errc() || seconds == 0 || amount < 1 || amount > 100'000) {
    throw Error(EPHOR_INVALID,
                "window: found \"" + text + "\", expected a whole number of s, m, h or d",
                "/window");
  }
  return amount * seconds * 1'000'000'000;
}

Json quantile_ms(const RedCell& cell, double q) {
  const auto ns = cell.durations_ns.quantile(q);
  return ns ? Json(*ns / 1e6) : Json();
}

Json red_json(const RedCell& cell) {
  if (cell.count == 0) {
    return {{"count", 0},         {"errors", 0},       {"error_rate", nullptr},
            {"mean_ms", nullptr}, {"p50_ms", nullptr}, {"p95_ms", nullptr},
            {"p99_ms", nullptr},  {"min_ms", nullptr}, {"max_ms", nullptr}};
  }
  const auto count = static_cast<double>(cell.count);
  return {{"count", cell.count},
          {"errors", cell.errors},
          {"error_rate", static_cast<double>(cell.errors) / count},
          {"mean_ms", static_cast<double>(cell.duration_sum_ns) / count / 1e6},
          {"p50_ms", quantile_ms(cell, 0.50)},
          {"p95_ms", quantile_ms(cell, 0.95)},
          {"p99_ms", quantile_ms(cell, 0.99)},
          {"min_ms", to_milliseconds(cell.duration_min_ns)},
          {"max_ms", to_milliseconds(cell.duration_max_ns)}};
}

Json summary_json(const TraceSummary& trace) {
  const bool has_root = trace.root_start_ns.has_value();
  return {{"trace_id", hex_of(trace.id)},
          {"correlation_id", text_or_null(trace.correlation_id)},
          {"root_component", has_root ? Json(trace.root_component) : Json()},
          {"root_operation", has_root ? Json(trace.root_operation) : Json()},
          {"start", format_time(trace.start_ns)},
          {"duration_ms", to_milliseconds(trace.end_ns - trace.start_ns)},
          {"span_count", trace.span_count},
          {"error_count", trace.error_count},
          {"components", trace.components}};
}

}  // namespace

Json performance_json(const RedTable& red, std::uint64_t late_spans, const Json& request) {
  RedFilter filter;
  filter.component = request_text(request, "component");
  filter.operation = request_text(request, "operation");
  filter.from_ns = time_parameter(request, "from");
  filter.to_ns = time_parameter(request, "to");
  filter.window_ns = window_parameter(request);
  const RedAnswer found = red.ask(filter);
  RedCell all;
  std::map<std::string, RedCell> by_component;
  Json operations = Json::array();
  for (const RedRow& row : found.operations) {
    all.merge(row.cell);
    by_component[row.component].merge(row.cell);
    Json entry = red_json(row.cell);
    entry["component"] = row.component;
    entry["operation"] = row.operation;
    operations.push_back(std::move(entry));
  }
  Json components = Json::array();
  for (const auto& [component, cell] : by_component) {
    Json entry = red_json(cell);
    entry["component"] = component;
    components.push_back(std::move(entry));
  }
  Json windows = Json::array();
  for (const RedPoint& point : found.windows) {
    Json entry = red_json(point.cell);
    entry["from"] = format_time(point.from_ns);
    entry["to"] = format_time(point.to_ns);
    windows.push_back(std::move(entry));
  }
  return {{"over",
           {{"from", time_or_null(found.from_ns)},
            {"to", time_or_null(found.to_ns)},
            {"resolution_s",
             found.resolution_ns == 0 ? Json() : Json(found.resolution_ns / 1'000'000'000)},
            {"spans", all.count},
            {"late_spans_total", late_spans},
            {"quantile_relative_error", Sketch::kRelativeError}}},
          {"all", red_json(all)},
          {"components", std::move(components)},
          {"operations", std::move(operations)},
          {"windows", filter.window_ns ? std::move(windows) : Json()}};
}

Json errors_json(const ErrorGroups& errors, std::uint64_t span_count, const Json& request) {
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 10'000));
  const std::string component = request_text(request, "component");
  const std::string operation = request_text(request, "operation");
  const auto from_ns = time_parameter(request, "from");
  std::vector<std::pair<std::uint64_t, const ErrorGroup*>> wanted;
  for (const auto& [fingerprint, group] : errors.groups()) {
    if (!component.empty() && group.component != component) continue;
    if (!operation.empty() && group.operation != operation) continue;
    if (from_ns && group.last_seen_ns < *from_ns) continue;
    wanted.emplace_back(fingerprint, &group);
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) {
    return std::tuple(b.second->count, b.second->last_seen_ns, a.first) <
           std::tuple(a.second->count, a.second->last_seen_ns, b.first);
  });
  const std::size_t matching = wanted.size();
  if (wanted.size() > limit) wanted.resize(limit);
  Json groups = Json::array();
  for (const auto& [fingerprint, group] : wanted) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(fingerprint));
    groups.push_back({{"fingerprint", hex},
                      {"component", group->component},
                      {"operation", group->operation},
                      {"message", group->pattern},
                      {"count", group->count},
                      {"first_seen", format_time(group->first_seen_ns)},
                      {"last_seen", format_time(group->last_seen_ns)},
                      {"sample_messages", group->messages},
                      {"trace_ids", group->trace_ids}});
  }
  const auto spans = static_cast<double>(span_count);
  return {{"over",
           {{"spans", span_count},
            {"error_spans", errors.total()},
            {"error_rate",
             span_count == 0 ? Json() : Json(static_cast<double>(errors.total()) / spans)},
            {"groups", errors.groups().size()},
            {"groups_matching", matching},
            {"errors_without_group", errors.ungrouped()}}},
          {"groups", std::move(groups)}};
}

Json traces_json(const TraceStore& traces, double trace_sampling_rate, const Json& request) {
  const std::int64_t limit = request_integer(request, "limit", 100, 1, 1000);
  const std::int64_t duration_min_ms =
      request_integer(request, "min_duration_ms", 0, 0, 1'000'000'000);
  const bool only_errors = request_integer(request, "errors", 0, 0, 1) == 1;
  const std::string component = request_text(request, "component");
  const std::string root_operation = request_text(request, "root_operation");
  const std::string wanted_correlation = request_text(request, "correlation_id");
  Json list = Json::array();
  traces.for_each_latest([&](const TraceSummary& trace) {
    const bool is_wanted =
        (!only_errors || trace.error_count > 0) &&
        trace.end_ns - trace.start_ns >= duration_min_ms * 1'000'000 &&
        (component.empty() ||
         std::binary_search(trace.components.begin(), trace.components.end(), component)) &&
        (root_operation.empty() || trace.root_operation == root_operation) &&
        (wanted_correlation.empty() || trace.correlation_id == wanted_correlation);
    if (is_wanted) list.push_back(summary_json(trace));
    return static_cast<std::int64_t>(list.size()) < limit;
  });
  return {{"over",
           {{"summaries", traces.size()},
            {"evicted", traces.evicted_count()},
            {"spans_after_eviction", traces.spans_after_eviction()},
            {"traces", traces.trace_count()},
            {"trace_sampling_rate", trace_sampling_rate}}},
          {"traces", std::move(list)}};
}

Json findings_json(const RegressionMonitor& regressions, const Json& request) {
  const std::int64_t limit = request_integer(request, "limit", 100, 1, 1000);
  const std::int64_t offset = request_integer(request, "offset", 0, 0, 1'000'000'000);
  const std::string kind = request_text(request, "kind");
  const std::string state = request_text(request, "state");
  const std::string target = request_text(request, "target");
  const auto from_ns = time_parameter(request, "from");
  const auto to_ns = time_parameter(request, "to");
  const Findings& findings = regressions.findings();
  Json in_period = findings.list(0, SIZE_MAX, from_ns, to_ns);
  Json list = Json::array();
  std::int64_t matching = 0;
  for (Json& finding : in_period) {
    const bool is_wanted = (kind.empty() || finding["kind"] == kind) &&
                           (target.empty() || finding["target"] == target) &&
                           (state.empty() || finding["state"] == state);
    if (!is_wanted || matching++ < offset) continue;
    if (static_cast<std::int64_t>(list.size()) < limit) list.push_back(std::move(finding));
  }
  return {{"over",
           {{"from", time_or_null(from_ns)},
            {"to", time_or_null(to_ns)},
            {"findings", findings.all().size()},
            {"findings_ever", findings.opened()},
            {"open", findings.open_count()},
            {"matching", matching},
            {"traces_judged_early", regressions.assembler().finished_early()}}},
          {"findings", std::move(list)}};
}

Json row_json(const CorrelationRow& row) {
  return {{"correlation_id", row.correlation_id},
          {"request_timestamp", text_or_null(row.request_timestamp)},
          {"response_timestamp", text_or_null(row.response_timestamp)},
          {"component_path", text_or_null(row.component_path)},
          {"performance_metrics", json_or_null(row.performance_metrics_json)},
          {"error_info", json_or_null(row.error_info_json)},
          {"metadata", json_or_null(row.metadata_json)}};
}

}  // namespace ephor::tracer
