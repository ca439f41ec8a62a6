// SPDX-License-Identifier: Apache-2.0
#include "analysis_routes.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ephor/json.hpp>
#include <ephor/times.hpp>
#include <map>
#include <set>
#include <utility>

#include "comparison.hpp"
#include "red_answers.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kExamplesMax = 5;

RedFilter times_of(const Json& request) {
  RedFilter filter;
  filter.from_ns = time_parameter(request, "from");
  filter.to_ns = time_parameter(request, "to");
  return filter;
}

double self_share(const RedCell& cell, std::uint64_t all_ns) {
  return all_ns == 0 ? 0.0 : static_cast<double>(cell.self_sum_ns) / static_cast<double>(all_ns);
}

Json figures_json(const RedCell& cell, std::int64_t period_ns) {
  Json out = red_json(cell, period_ns);
  out["trace_ids"] = slowest_traces_json(cell);
  return out;
}

Json node_json(const RedCell& cell, std::int64_t period_ns, std::uint64_t self_all_ns) {
  Json out = figures_json(cell, period_ns);
  out["self_ms"] = static_cast<double>(cell.self_sum_ns) / 1e6;
  out["self_share"] = self_all_ns == 0 ? Json() : Json(self_share(cell, self_all_ns));
  return out;
}

// ---- services

Json services_json(const AnalysisView& view, const Json& request) {
  RedFilter filter = red_filter(request);
  filter.component = request_text(request, "service");
  filter.operation.clear();
  const RedTable& table = view.analysis.graph().services();
  const RedAnswer found = table.ask(filter);
  const std::int64_t period_ns = period_ns_of(found);
  std::uint64_t self_ns = 0;
  for (const RedRow& row : found.operations) self_ns += row.cell.self_sum_ns;
  Json services = Json::array();
  for (const RedRow& row : found.operations) {
    Json entry = node_json(row.cell, period_ns, self_ns);
    entry["service"] = row.component;
    entry["exemplars"] = exemplars_json(row.cell);
    services.push_back(std::move(entry));
  }
  Json windows = Json::array();
  for (const RedPoint& point : found.windows) {
    Json entry = figures_json(point.cell, point.to_ns - point.from_ns);
    entry["from"] = format_time(point.from_ns);
    entry["to"] = format_time(point.to_ns);
    windows.push_back(std::move(entry));
  }
  return {{"over", over_json(found)},
          {"services", std::move(services)},
          {"windows", filter.window_ns ? std::move(windows) : Json()}};
}

// ---- graph

struct Graph {
  std::map<std::string, RedCell> nodes;
  std::map<std::pair<std::string, std::string>, RedCell> edges;
};

enum class Level { service, component, operation };

Level level_of(const Json& request) {
  const std::string text = request_text(request, "level", "service");
  if (text == "service") return Level::service;
  if (text == "component") return Level::component;
  if (text == "operation") return Level::operation;
  throw Error(EPHOR_INVALID,
              "level: found \"" + text + "\", expected service, component or operation", "/level");
}

Json graph_json(const AnalysisView& view, const Json& request) {
  const Level level = level_of(request);
  const RedFilter filter = times_of(request);
  const ServiceGraph& graph = view.analysis.graph();
  const RedAnswer nodes =
      (level == Level::service ? graph.services() : view.operations).ask(filter);
  const RedAnswer calls =
      (level == Level::service ? graph.service_edges() : graph.operation_edges()).ask(filter);
  const auto name_of = [&](const std::string& component, const std::string& operation) {
    return level == Level::operation ? component + "/" + operation : component;
  };
  Graph out;
  for (const RedRow& row : nodes.operations) {
    out.nodes[name_of(row.component, row.operation)].merge(row.cell);
  }
  for (const RedRow& row : calls.operations) {
    std::pair<std::string, std::string> ends{row.component, row.operation};
    if (level != Level::service) {
      const auto [caller, caller_operation] = names_of_end(row.component);
      const auto [callee, callee_operation] = names_of_end(row.operation);
      if (level == Level::component && caller == callee) continue;
      ends = {name_of(caller, caller_operation), name_of(callee, callee_operation)};
    }
    out.edges[ends].merge(row.cell);
  }
  const std::int64_t node_period_ns = period_ns_of(nodes);
  const std::int64_t edge_period_ns = period_ns_of(calls);
  std::uint64_t self_ns = 0;
  for (const auto& [name, cell] : out.nodes) self_ns += cell.self_sum_ns;
  Json node_list = Json::array();
  for (const auto& [name, cell] : out.nodes) {
    Json entry = node_json(cell, node_period_ns, self_ns);
    entry["name"] = name;
    node_list.push_back(std::move(entry));
  }
  Json edge_list = Json::array();
  for (const auto& [ends, cell] : out.edges) {
    Json entry = figures_json(cell, edge_period_ns);
    entry["from"] = ends.first;
    entry["to"] = ends.second;
    edge_list.push_back(std::move(entry));
  }
  Json over = over_json(nodes);
  over["calls_from"] = time_or_null(calls.from_ns);
  over["calls_to"] = time_or_null(calls.to_ns);
  over["level"] = request_text(request, "level", "service");
  over["spans_without_parent_total"] = graph.spans_without_parent();
  over["quantile_relative_error"] = Sketch::kRelativeError;
  return {
      {"over", std::move(over)}, {"nodes", std::move(node_list)}, {"edges", std::move(edge_list)}};
}

// ---- critical path

// "component/operation" or an operation alone; the most frequent of those that fit.
std::optional<CriticalPaths::Root> find_root(const AnalysisView& view, const std::string& wanted) {
  std::optional<CriticalPaths::Root> best;
  for (const CriticalPaths::Root& root : view.analysis.paths().roots()) {
    const bool fits = wanted.empty() || view.operations.name_of(root.operation) == wanted ||
                      view.operations.operation_of(root.operation) == wanted;
    if (fits && (!best || root.traces > best->traces)) best = root;
  }
  return best;
}

// Traces of the window whose root took longer than the threshold, slowest buckets first.
Json slow_examples(const AnalysisView& view, const CriticalPaths::Root& root,
                   const CriticalPaths::Answer& found) {
  RedFilter filter;
  filter.component = view.operations.component_of(root.operation);
  filter.operation = view.operations.operation_of(root.operation);
  filter.from_ns = found.from_ns;
  filter.to_ns = found.to_ns;
  std::vector<SampledTrace> sample = view.operations.sample(filter);
  const std::uint16_t least = Exemplars::bucket_of(Sketch::bin_of(found.threshold_ns));
  std::erase_if(sample, [&](const SampledTrace& one) { return one.bucket < least; });
  std::stable_sort(sample.begin(), sample.end(), [](const SampledTrace& a, const SampledTrace& b) {
    return a.bucket > b.bucket;
  });
  Json out = Json::array();
  for (const SampledTrace& one : sample) {
    const Json id = hex_of(one.exemplar.trace_id);
    if (std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
    if (out.size() >= kExamplesMax) break;
  }
  return out;
}

Json cohort_json(const CriticalPaths::Cohort& cohort) {
  return {{"traces", cohort.traces},
          {"mean_ms", cohort.traces == 0 ? Json()
                                         : Json(static_cast<double>(cohort.ns) / 1e6 /
                                                static_cast<double>(cohort.traces))}};
}

Json share_json(const CriticalPaths::Share& share, const CriticalPaths::Cohort& cohort) {
  if (cohort.traces == 0) return {{"ms_per_trace", nullptr}, {"share", nullptr}, {"traces", 0}};
  const auto ns = static_cast<double>(share.ns);
  return {{"ms_per_trace", ns / 1e6 / static_cast<double>(cohort.traces)},
          {"share", cohort.ns == 0 ? Json() : Json(ns / static_cast<double>(cohort.ns))},
          {"traces", share.traces}};
}

Json critical_path_json(const AnalysisView& view, const Json& request) {
  const std::string wanted = request_text(request, "root");
  const double quantile = number_parameter(request, "quantile", 0.99, 0.0, 0.99999);
  const RedFilter times = times_of(request);
  const CriticalPaths& paths = view.analysis.paths();
  const auto root = find_root(view, wanted);
  if (!root && !wanted.empty()) {
    throw Error(EPHOR_NOT_FOUND, "root: no trace begins with the operation \"" + wanted + "\"",
                "/root");
  }
  Json roots = Json::array();
  for (const CriticalPaths::Root& one : paths.roots()) {
    roots.push_back({{"root", view.operations.name_of(one.operation)}, {"traces", one.traces}});
  }
  Json out{{"over",
            {{"from", time_or_null(times.from_ns)},
             {"to", time_or_null(times.to_ns)},
             {"resolution_s", nullptr},
             {"root", root ? Json(view.operations.name_of(root->operation)) : Json()},
             {"quantile", quantile},
             {"threshold_ms", nullptr},
             {"traces_without_root_total", paths.without_root()},
             {"traces_beyond_roots_total", paths.beyond_roots()}}},
           {"roots", std::move(roots)},
           {"slow", nullptr},
           {"rest", nullptr},
           {"operations", Json::array()},
           {"trace_ids", Json::array()},
           {"reason", "no data: no finished trace with a root in this time"}};
  const auto found =
      root ? paths.ask(root->operation, times.from_ns, times.to_ns, quantile) : std::nullopt;
  if (!found) return out;
  out["reason"] = nullptr;
  out["over"]["from"] = format_time(found->from_ns);
  out["over"]["to"] = format_time(found->to_ns);
  out["over"]["resolution_s"] = found->resolution_ns / 1'000'000'000;
  out["over"]["threshold_ms"] = found->threshold_ns / 1e6;
  out["slow"] = cohort_json(found->slow);
  out["rest"] = cohort_json(found->rest);
  std::vector<Json> operations;
  for (std::size_t i = 0; i < found->slow.shares.size(); ++i) {
    const CriticalPaths::Share& slow = found->slow.shares[i];
    const CriticalPaths::Share& rest = found->rest.shares[i];
    Json row{{"component", view.operations.component_of(slow.operation)},
             {"operation", view.operations.operation_of(slow.operation)},
             {"slow", share_json(slow, found->slow)},
             {"rest", share_json(rest, found->rest)},
             {"extra_ms", nullptr},
             {"extra_share", nullptr}};
    if (found->rest.traces > 0) {
      const double extra_ms =
          row["slow"]["ms_per_trace"].get<double>() - row["rest"]["ms_per_trace"].get<double>();
      const double all_ms =
          out["slow"]["mean_ms"].get<double>() - out["rest"]["mean_ms"].get<double>();
      row["extra_ms"] = extra_ms;
      row["extra_share"] = all_ms > 0.0 ? Json(extra_ms / all_ms) : Json();
    }
    operations.push_back(std::move(row));
  }
  const char* const order = found->rest.traces > 0 ? "extra_ms" : nullptr;
  std::stable_sort(operations.begin(), operations.end(), [&](const Json& a, const Json& b) {
    const auto value = [&](const Json& row) {
      return (order != nullptr ? row[order] : row["slow"]["ms_per_trace"]).get<double>();
    };
    return value(a) > value(b);
  });
  out["operations"] = operations;
  out["trace_ids"] = slow_examples(view, *root, *found);
  return out;
}

// ---- active traces

Json active_trace_json(const AnalysisView& view, const ActiveTrace& trace, std::int64_t now_ns,
                       bool is_settling) {
  const std::int64_t age_ns = now_ns - trace.start_ns;
  Json waits = Json::array();
  if (!trace.running.empty()) waits.push_back("running spans");
  if (!trace.missing.empty() || trace.has_more) waits.push_back("parents that were named");
  if (!trace.has_root) waits.push_back("root");
  if (is_settling) waits.push_back("rest");
  return {{"trace_id", hex_of(trace.trace_id)},
          {"operation", view.operations.name_of(trace.operation)},
          {"start", format_time(trace.start_ns)},
          {"last_seen", format_time(trace.last_seen_ns)},
          {"age_s", static_cast<double>(age_ns) / 1e9},
          {"is_timed_out", age_ns > view.analysis.active().timeout_ns()},
          {"spans", trace.span_count},
          {"running_spans", trace.running.size()},
          {"missing_parents", trace.missing.size()},
          {"has_root", trace.has_root},
          {"waits_for", std::move(waits)}};
}

Json active_json(const AnalysisView& view, const Json& request) {
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 1000));
  const ActiveTraces& active = view.analysis.active();
  const TraceAssembler& assembler = view.regressions.assembler();
  const std::int64_t now_ns = std::max(view.operations.last_ns(), assembler.clock_ns());
  // What has rested already, and on top of it what came since.
  std::map<std::uint64_t, ActiveTrace> traces = active.waiting();
  std::set<std::uint64_t> settling;
  std::vector<OpenSpan> spans;
  std::vector<FinishedSpan> finished;
  assembler.for_each_open([&](std::uint64_t key, std::span<const OpenSpan> open) {
    spans.assign(open.begin(), open.end());
    finished.clear();
    finish_trace(spans, finished);
    if (finished.empty() || finished.front().trace_id == decltype(FinishedSpan::trace_id){}) return;
    settling.insert(key);
    add_spans(traces[key], finished);
  });
  std::vector<std::pair<std::uint64_t, const ActiveTrace*>> oldest;
  std::uint64_t timed_out = 0;
  std::uint64_t resting = 0;
  for (const auto& [key, trace] : traces) {
    // A trace that has all it named only waits to be sure of it.
    if (trace.is_whole()) {
      ++resting;
      continue;
    }
    timed_out += now_ns - trace.start_ns > active.timeout_ns() ? 1 : 0;
    oldest.emplace_back(key, &trace);
  }
  std::sort(oldest.begin(), oldest.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.second->start_ns, a.first) < std::tuple(b.second->start_ns, b.first);
  });
  Json list = Json::array();
  for (std::size_t i = 0; i < std::min(oldest.size(), limit); ++i) {
    list.push_back(
        active_trace_json(view, *oldest[i].second, now_ns, settling.contains(oldest[i].first)));
  }
  Json latest = Json::array();
  for (auto at = active.timed_out_latest().rbegin();
       at != active.timed_out_latest().rend() && latest.size() < limit; ++at) {
    Json one = active_trace_json(view, *at, now_ns, false);
    one["is_timed_out"] = true;
    latest.push_back(std::move(one));
  }
  const bool has_data = view.operations.count() > 0 || view.analysis.running_spans() > 0;
  return {{"over",
           {{"now", has_data ? Json(format_time(now_ns)) : Json()},
            {"trace_timeout_s", static_cast<double>(active.timeout_ns()) / 1e9},
            {"active", oldest.size()},
            {"active_beyond_timeout", timed_out},
            {"resting", resting},
            {"timed_out_total", active.timed_out()},
            {"completed_late_total", active.completed_late()},
            {"given_up_total", active.given_up()},
            {"running_spans_total", view.analysis.running_spans()}}},
          {"active", std::move(list)},
          {"timed_out", std::move(latest)}};
}

// ---- slow against normal

ComparedSpan compared_span(const Span& span) {
  ComparedSpan out;
  out.span.trace_id = span.trace_id;
  out.span.span_id = span.span_id;
  out.span.parent_span_id = span.parent_span_id;
  out.span.component = span.component;
  out.span.operation = span.operation;
  out.span.kind = span.kind;
  out.span.status = span.status;
  out.span.start_ns = span.start_ns;
  out.span.end_ns = span.end_ns;
  out.texts["service"] = span.service;
  span.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
    if (value.kind == AttributeValue::Kind::integer) {
      out.numbers[std::string(name)] = static_cast<double>(value.integer);
    } else if (value.kind == AttributeValue::Kind::number) {
      out.numbers[std::string(name)] = value.number;
    } else if (value.kind != AttributeValue::Kind::other) {
      out.texts[std::string(name)] = value.to_text().substr(0, 200);
    }
  });
  return out;
}

// The sample, thinned to `most` traces of each side by a hash that has nothing to do with the one
// that chose the exemplars.
std::vector<SampledTrace> thinned(std::vector<SampledTrace> sample, std::uint16_t slow_bucket,
                                  std::size_t most) {
  const auto draw = [](const SampledTrace& one) {
    return hash64({reinterpret_cast<const char*>(&one.exemplar.priority), 8});
  };
  // A trace that shows several spans is there once, for its slowest.
  std::stable_sort(sample.begin(), sample.end(), [](const SampledTrace& a, const SampledTrace& b) {
    return std::tuple(a.exemplar.priority, b.bucket) < std::tuple(b.exemplar.priority, a.bucket);
  });
  sample.erase(std::unique(sample.begin(), sample.end(),
                           [](const SampledTrace& a, const SampledTrace& b) {
                             return a.exemplar.priority == b.exemplar.priority;
                           }),
               sample.end());
  std::stable_sort(sample.begin(), sample.end(),
                   [&](const SampledTrace& a, const SampledTrace& b) { return draw(a) < draw(b); });
  std::array<std::size_t, 2> taken{};
  std::erase_if(sample, [&](const SampledTrace& one) {
    return taken[one.bucket >= slow_bucket ? 0 : 1]++ >= most;
  });
  return sample;
}

Json comparison_json(const AnalysisView& view, const Json& request) {
  RedFilter filter = red_filter(request);
  filter.window_ns.reset();
  if (filter.operation.empty()) {
    throw Error(EPHOR_INVALID, "operation: found nothing, expected the name of an operation",
                "/operation");
  }
  const double quantile = number_parameter(request, "quantile", 0.95, 0.5, 0.9999);
  const auto most = static_cast<std::size_t>(request_integer(request, "traces", 100, 5, 1000));
  const RedAnswer found = view.operations.ask(filter);
  RedCell all;
  for (const RedRow& row : found.operations) all.merge(row.cell);
  if (all.count == 0 && found.operations.empty() && !filter.from_ns && !filter.to_ns) {
    throw Error(EPHOR_NOT_FOUND, "operation: no span of the operation \"" + filter.operation + "\"",
                "/operation");
  }
  ComparisonQuestion question;
  question.component = filter.component;
  question.operation = filter.operation;
  question.threshold_ns = all.durations_ns.quantile(quantile).value_or(0.0);
  question.limit = static_cast<std::size_t>(request_integer(request, "limit", 50, 1, 1000));
  const std::uint16_t slow_bucket = Exemplars::bucket_of(Sketch::bin_of(question.threshold_ns));
  std::vector<SampledTrace> sample = view.operations.sample(filter);
  const std::size_t sampled = sample.size();
  sample = thinned(std::move(sample), slow_bucket, most);
  const std::uint16_t span_topic = view.host.topic_id("ephor.span");
  std::vector<ComparedTrace> traces;
  std::size_t gone = 0;
  for (const SampledTrace& one : sample) {
    ComparedTrace trace;
    trace.trace_id = hex_of(one.exemplar.trace_id);
    trace.weight = one.weight;
    view.host.find_events(trace.trace_id, [&](const Event& event) {
      if (event.topic != span_topic) return;
      trace.spans.push_back(compared_span(view.reader.span(event)));
    });
    if (trace.spans.empty()) {
      ++gone;
    } else {
      traces.push_back(std::move(trace));
    }
  }
  Json out = compare_json(traces, question);
  Json over = over_json(found);
  over["component"] = text_or_null(filter.component);
  over["operation"] = filter.operation;
  over["quantile"] = quantile;
  over["spans"] = all.count;
  over["exemplars"] = sampled;
  over["traces_read"] = traces.size();
  over["traces_no_longer_there"] = gone;
  out["over"] = std::move(over);
  return out;
}

// ---- outcomes

OutcomeQuestion outcome_question(const Json& request) {
  OutcomeQuestion question;
  question.from_ns = time_parameter(request, "from");
  question.to_ns = time_parameter(request, "to");
  question.component = request_text(request, "component");
  question.buckets = static_cast<std::size_t>(request_integer(request, "buckets", 5, 1, 50));
  const std::string edges = request_text(request, "edges_ms");
  for (std::size_t at = 0; at < edges.size();) {
    const std::size_t end = std::min(edges.find(',', at), edges.size());
    double value = 0.0;
    const auto [read, error] = std::from_chars(edges.data() + at, edges.data() + end, value);
    const bool is_good = error == std::errc() && read == edges.data() + end && value > 0.0 &&
                         (question.edges_ms.empty() || value > question.edges_ms.back()) &&
                         question.edges_ms.size() < 50;
    if (!is_good) {
      throw Error(EPHOR_INVALID,
                  "edges_ms: found \"" + edges +
                      "\", expected rising numbers above 0, at most 50, such as 5,10,50",
                  "/edges_ms");
    }
    question.edges_ms.push_back(value);
    at = end + 1;
  }
  return question;
}

}  // namespace

void provide_analysis(AnalysisView view) {
  const auto provide = [&](std::string_view path, std::string_view query, std::string_view summary,
                           Json (*answer)(const AnalysisView&, const Json&)) {
    // Where a trace's event stands in the log differs from run to run.
    view.host.provide_route(
        {.method = "GET",
         .path = path,
         .query = query,
         .summary = summary,
         .response_schema = R"({"type":"object","x-run-dependent":["**/sequence"]})"},
        [view, answer](std::string_view request) {
          return dump(answer(view, parse_json(request, "request")));
        });
  };
  provide("/api/tracing/services", "tracer.services",
          "Rate, errors and durations per service; filters: service, from, to, window",
          services_json);
  provide("/api/tracing/graph", "tracer.graph",
          "Who calls whom, with rate, errors and durations; level (service, component, "
          "operation), from, to",
          graph_json);
  provide("/api/tracing/critical-path", "tracer.critical_path",
          "What the slow traces of a root operation wait for; root, quantile, from, to",
          critical_path_json);
  provide("/api/tracing/active", "tracer.active",
          "Traces that are not whole, and those that timed out; limit", active_json);
  provide("/api/tracing/pnl-by-latency", "tracer.pnl_by_latency",
          "Profit, win rate and slippage by latency of the trace and of each component; "
          "component, buckets, edges_ms, from, to",
          [](const AnalysisView& v, const Json& request) {
            return pnl_by_latency_json(v.analysis.outcomes(), v.analysis.components(),
                                       outcome_question(request));
          });
  provide("/api/tracing/performance-correlation", "tracer.performance_correlation",
          "Which component's latency moves with which outcome; component, from, to",
          [](const AnalysisView& v, const Json& request) {
            return performance_correlation_json(v.analysis.outcomes(), v.analysis.components(),
                                                outcome_question(request));
          });
  provide("/api/tracing/compare", "tracer.compare",
          "How the slow traces of an operation differ from the others; operation, component, "
          "quantile, from, to, traces, limit",
          comparison_json);
}

}  // namespace ephor::tracer
