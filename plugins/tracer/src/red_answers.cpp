// SPDX-License-Identifier: Apache-2.0
#include "red_answers.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ephor/times.hpp>
#include <map>
#include <tuple>
#include <utility>

#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

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

// An error that was never away is new for as long as it would take to be gone.
std::string state_of(const ErrorGroup& group, std::int64_t gone_ns, std::int64_t now_ns) {
  if (now_ns - group.last_seen_ns > gone_ns) return "gone";
  if (group.regressions > 0 && now_ns - group.regressed_ns <= gone_ns) return "regressed";
  return now_ns - group.first_seen_ns <= gone_ns ? "new" : "ongoing";
}

Json share_of(const ErrorGroup& group,
              const std::map<std::pair<std::string, std::string>, std::uint64_t>& spans_of) {
  const auto found = spans_of.find({group.component, group.operation});
  if (found == spans_of.end() || found->second == 0) return nullptr;
  return static_cast<double>(group.count) / static_cast<double>(found->second);
}

}  // namespace

std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name) {
  const std::string text = request_text(request, name);
  if (text.empty()) return std::nullopt;
  if (const auto time = parse_time(text)) return time;
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found \"" + text +
                  "\", expected an RFC 3339 time such as 2017-11-07T06:29:00Z",
              "/" + std::string(name));
}

double number_parameter(const Json& request, std::string_view name, double fallback, double least,
                        double most) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return fallback;
  double value = std::nan("");
  if (found->is_number()) {
    value = found->get<double>();
  } else if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) value = std::nan("");
  }
  if (value >= least && value <= most) return value;
  char expected[80];
  std::snprintf(expected, sizeof expected, ", expected a number from %g to %g", least, most);
  throw Error(EPHOR_INVALID, std::string(name) + ": found " + found->dump() + expected,
              "/" + std::string(name));
}

RedFilter red_filter(const Json& request) {
  RedFilter filter;
  filter.component = request_text(request, "component");
  filter.operation = request_text(request, "operation");
  filter.from_ns = time_parameter(request, "from");
  filter.to_ns = time_parameter(request, "to");
  filter.window_ns = window_parameter(request);
  return filter;
}

Json red_json(const RedCell& cell, std::int64_t period_ns) {
  if (cell.count == 0) {
    return {
        {"count", 0},         {"rate_per_s", nullptr}, {"errors", 0},       {"error_rate", nullptr},
        {"mean_ms", nullptr}, {"p50_ms", nullptr},     {"p95_ms", nullptr}, {"p99_ms", nullptr},
        {"min_ms", nullptr},  {"max_ms", nullptr}};
  }
  const auto count = static_cast<double>(cell.count);
  return {
      {"count", cell.count},
      {"rate_per_s", period_ns > 0 ? Json(count * 1e9 / static_cast<double>(period_ns)) : Json()},
      {"errors", cell.errors},
      {"error_rate", static_cast<double>(cell.errors) / count},
      {"mean_ms", static_cast<double>(cell.duration_sum_ns) / count / 1e6},
      {"p50_ms", quantile_ms(cell, 0.50)},
      {"p95_ms", quantile_ms(cell, 0.95)},
      {"p99_ms", quantile_ms(cell, 0.99)},
      {"min_ms", to_milliseconds(cell.duration_min_ns)},
      {"max_ms", to_milliseconds(cell.duration_max_ns)}};
}

Json exemplars_json(const RedCell& cell) {
  Json out = Json::array();
  for (const Exemplars::Bucket& bucket : cell.exemplars.buckets()) {
    Json ids = Json::array();
    for (std::size_t i = 0; i < bucket.count; ++i) ids.push_back(hex_of(bucket.traces[i].trace_id));
    const auto first = static_cast<std::uint16_t>(bucket.bucket << Exemplars::kBucketShift);
    const auto last = static_cast<std::uint16_t>(first + (1 << Exemplars::kBucketShift) - 1);
    out.push_back({{"from_ms", Sketch::value_of(first) / 1e6},
                   {"to_ms", Sketch::value_of(last) / 1e6},
                   {"trace_ids", std::move(ids)}});
  }
  return out;
}

Json slowest_traces_json(const RedCell& cell, std::size_t most) {
  Json out = Json::array();
  const auto& buckets = cell.exemplars.buckets();
  for (std::size_t b = buckets.size(); b-- > 0;) {
    for (std::size_t i = 0; i < buckets[b].count && out.size() < most; ++i) {
      out.push_back(hex_of(buckets[b].traces[i].trace_id));
    }
  }
  return out;
}

Json over_json(const RedAnswer& found) {
  return {{"from", time_or_null(found.from_ns)},
          {"to", time_or_null(found.to_ns)},
          {"resolution_s",
           found.resolution_ns == 0 ? Json() : Json(found.resolution_ns / 1'000'000'000)}};
}

std::int64_t period_ns_of(const RedAnswer& found) {
  return found.from_ns && found.to_ns ? *found.to_ns - *found.from_ns : 0;
}

Json performance_json(const RedTable& red, std::uint64_t late_spans, const Json& request) {
  const RedFilter filter = red_filter(request);
  const RedAnswer found = red.ask(filter);
  const std::int64_t period_ns = period_ns_of(found);
  RedCell all;
  std::map<std::string, RedCell> by_component;
  Json operations = Json::array();
  for (const RedRow& row : found.operations) {
    all.merge(row.cell);
    by_component[row.component].merge(row.cell);
    Json entry = red_json(row.cell, period_ns);
    entry["exemplars"] = exemplars_json(row.cell);
    entry["component"] = row.component;
    entry["operation"] = row.operation;
    operations.push_back(std::move(entry));
  }
  Json components = Json::array();
  for (const auto& [component, cell] : by_component) {
    Json entry = red_json(cell, period_ns);
    entry["component"] = component;
    components.push_back(std::move(entry));
  }
  Json windows = Json::array();
  for (const RedPoint& point : found.windows) {
    Json entry = red_json(point.cell, point.to_ns - point.from_ns);
    entry["trace_ids"] = slowest_traces_json(point.cell);
    entry["from"] = format_time(point.from_ns);
    entry["to"] = format_time(point.to_ns);
    windows.push_back(std::move(entry));
  }
  Json over = over_json(found);
  over["spans"] = all.count;
  over["late_spans_total"] = late_spans;
  over["quantile_relative_error"] = Sketch::kRelativeError;
  return {{"over", std::move(over)},
          {"all", red_json(all, period_ns)},
          {"components", std::move(components)},
          {"operations", std::move(operations)},
          {"windows", filter.window_ns ? std::move(windows) : Json()}};
}

Json errors_json(const ErrorGroups& errors, const RedTable& red, std::int64_t now_ns,
                 const Json& request) {
  const std::uint64_t span_count = red.count();
  std::map<std::pair<std::string, std::string>, std::uint64_t> spans_of;
  for (const RedRow& row : red.ask({}).operations) {
    spans_of[{row.component, row.operation}] = row.cell.count;
  }
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 10'000));
  const std::string component = request_text(request, "component");
  const std::string operation = request_text(request, "operation");
  const auto from_ns = time_parameter(request, "from");
  const std::string state = request_text(request, "state");
  const std::int64_t hour = now_ns / ErrorGroups::kHourNs;
  std::vector<std::pair<std::uint64_t, const ErrorGroup*>> wanted;
  for (const auto& [fingerprint, group] : errors.groups()) {
    if (!component.empty() && group.component != component) continue;
    if (!operation.empty() && group.operation != operation) continue;
    if (from_ns && group.last_seen_ns < *from_ns) continue;
    if (!state.empty() && state_of(group, errors.gone_ns(), now_ns) != state) continue;
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
    groups.push_back(
        {{"fingerprint", hex},
         {"component", group->component},
         {"operation", group->operation},
         {"type", text_or_null(group->type)},
         {"message", group->pattern},
         {"location", text_or_null(group->location)},
         {"count", group->count},
         {"first_seen", format_time(group->first_seen_ns)},
         {"last_seen", format_time(group->last_seen_ns)},
         {"state", state_of(*group, errors.gone_ns(), now_ns)},
         {"regressions", group->regressions},
         {"regressed_at",
          group->regressions == 0 ? Json() : Json(format_time(group->regressed_ns))},
         {"absent_s", group->regressions == 0 ? Json() : Json(group->absence_ns / 1'000'000'000)},
         {"count_24h", group->count_since(hour - 23)},
         {"rate_per_hour_24h", static_cast<double>(group->count_since(hour - 23)) / 24.0},
         {"share_of_spans", share_of(*group, spans_of)},
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

}  // namespace ephor::tracer
