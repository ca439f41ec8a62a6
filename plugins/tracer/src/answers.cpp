// SPDX-License-Identifier: Apache-2.0
#include "answers.hpp"

#include <algorithm>
#include <ephor/times.hpp>
#include <utility>
#include <vector>

#include "trace_search.hpp"

namespace ephor::tracer {
Json traces_json(TraceStore& traces, double trace_sampling_rate, const Json& request) {
  const std::int64_t limit = request_integer(request, "limit", 100, 1, 1000);
  const std::int64_t duration_min_ms =
      request_integer(request, "min_duration_ms", 0, 0, 1'000'000'000);
  const bool only_errors = request_integer(request, "errors", 0, 0, 1) == 1;
  const std::string component = request_text(request, "component");
  const std::string root_operation = request_text(request, "root_operation");
  const std::string wanted_correlation = request_text(request, "correlation_id");
  Json list = Json::array();
  traces.for_each_latest([&](const TraceChunk& chunk, const TraceSummary& trace) {
    const auto& names = chunk.operations();
    const bool is_wanted =
        (!only_errors || trace.error_count > 0) &&
        trace.duration_ns() >= duration_min_ms * 1'000'000 &&
        (component.empty() ||
         std::any_of(trace.operations.begin(), trace.operations.end(),
                     [&](std::uint16_t place) { return names[place].component == component; })) &&
        (root_operation.empty() || (trace.root != TraceSummary::kNoOperation &&
                                    names[trace.root].operation == root_operation)) &&
        (wanted_correlation.empty() || trace.has_id(IdKind::correlation, wanted_correlation));
    if (is_wanted) list.push_back(summary_json(chunk, trace));
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
