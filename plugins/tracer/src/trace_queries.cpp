// SPDX-License-Identifier: Apache-2.0
#include "trace_queries.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ephor/times.hpp>
#include <utility>

#include "jaeger.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kTraceEventsMax = 20'000;
constexpr std::int64_t kJaegerDeadlineMs = 5'000;
constexpr std::int64_t kJaegerDeadlineMsMax = 60'000;

std::int64_t monotonic_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

std::string text_at(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A count of `unit_ns` since the epoch in a request.
std::optional<std::int64_t> epoch_parameter(const Json& request, std::string_view name,
                                            std::int64_t unit_ns) {
  if (request_text(request, name).empty()) return std::nullopt;
  return request_integer(request, name, 0, 0, std::numeric_limits<std::int64_t>::max() / unit_ns) *
         unit_ns;
}

const Json& data_of(const StoryEvent& event) {
  static const Json kNone = Json::object();
  const auto found = event.event.find("data");
  return found != event.event.end() && found->is_object() ? *found : kNone;
}

}  // namespace

bool collect_events(const Host& host, std::string_view id, std::string_view via,
                    std::size_t events_max, std::set<std::uint64_t>& known,
                    std::vector<StoryEvent>& events) {
  bool is_complete = true;
  host.find_events(id, [&](const Event& event) {
    if (events.size() >= events_max) {
      is_complete = is_complete && known.contains(event.sequence);
      return;
    }
    if (!known.insert(event.sequence).second) return;
    StoryEvent found;
    found.sequence = event.sequence;
    found.time_ns = event.time_ns;
    found.topic = host.topic_name(event.topic);
    found.via = via;
    found.is_otlp = event.encoding == EPHOR_ENCODING_OTLP;
    TraceId trace{};
    std::copy_n(event.trace_id, trace.size(), trace.begin());
    if (trace != TraceId{}) found.trace_id = hex_of(trace);
    found.event = event.encoding == EPHOR_ENCODING_JSON
                      ? Json::parse(event.record, event.record + event.record_length)
                      : Json::parse(host.render_json(event));
    events.push_back(std::move(found));
  });
  return is_complete;
}

TraceQueries::TraceQueries(const Host& host, TraceStore& traces, const ServiceCatalog& catalog,
                           const ServiceGraph& graph, const TraceArchive& archive,
                           std::vector<std::string> join_attributes)
    : host_(host), traces_(traces), catalog_(catalog), graph_(graph), archive_(archive) {
  source_.events_of = [this](const std::string& id) {
    if (const auto trace = trace_id_from(id)) return events_of_trace(*trace);
    std::vector<StoryEvent> events;
    std::set<std::uint64_t> known;
    collect_events(host_, id, "id", kTraceEventsMax, known, events);
    return events;
  };
  source_.monotonic_ns = &monotonic_ns;
  source_.join_attributes = std::move(join_attributes);
}

void TraceQueries::provide() {
  const auto route = [this](std::string_view path, std::string_view query, std::string_view summary,
                            std::string (TraceQueries::*answer)(const Json&)) {
    host_.provide_route({.method = "GET", .path = path, .query = query, .summary = summary},
                        [this, answer](std::string_view request) {
                          return (this->*answer)(parse_json(request, "request"));
                        });
  };
  route("/api/tracing/search", "tracer.search",
        "Traces that match: q (an expression), service, component, operation, root_operation, "
        "status, min_duration, max_duration, from, to, trace_id, correlation_id, decision_id, "
        "execution_id, order_id, trade_id, prediction_id, symbol, attribute (name=value), limit, "
        "cursor, deadline_ms",
        &TraceQueries::answer_search);
  route("/api/tracing/traces/{trace_id}", "tracer.trace", "The span tree of one trace",
        &TraceQueries::answer_trace);
  route("/api/traces/{trace_id}", "tracer.jaeger_trace", "One trace as Jaeger's query API gives it",
        &TraceQueries::answer_jaeger_trace);
  route("/api/traces", "tracer.jaeger_traces",
        "Traces as Jaeger's query API gives them: service, operation, tags, minDuration, "
        "maxDuration, start, end (microseconds), limit, traceID",
        &TraceQueries::answer_jaeger_search);
  host_.provide_route(
      {.method = "GET",
       .path = "/api/dependencies",
       .query = "tracer.jaeger_dependencies",
       .summary = "Calls between services, as Jaeger's query API gives them: endTs, "
                  "lookback (milliseconds), service"},
      [this](std::string_view request) {
        return answer_dependencies(parse_json(request, "request"));
      });
  host_.provide_route({.method = "GET",
                       .path = "/api/services",
                       .query = "tracer.jaeger_services",
                       .summary = "Names of the services, as Jaeger's query API gives them"},
                      [this](std::string_view) { return answer_services(); });
  host_.provide_route(
      {.method = "GET",
       .path = "/api/operations",
       .query = "tracer.jaeger_operations",
       .summary = "Operations of a service with their span kinds, as Jaeger's query "
                  "API gives them: service, spanKind"},
      [this](std::string_view request) {
        return answer_operations(parse_json(request, "request"));
      });
  host_.provide_route({.method = "GET",
                       .path = "/api/services/{service}/operations",
                       .query = "tracer.jaeger_operation_names",
                       .summary = "Operations of a service, as Jaeger's query API gives them"},
                      [this](std::string_view request) {
                        return answer_operation_names(parse_json(request, "request"));
                      });
}

std::vector<StoryEvent> TraceQueries::events_of_trace(const TraceId& id, bool* is_complete) {
  std::vector<StoryEvent> events;
  std::set<std::uint64_t> known;
  const bool is_all = collect_events(host_, hex_of(id), "trace_id", kTraceEventsMax, known, events);
  if (is_complete != nullptr) *is_complete = is_all;
  if (archive_.size() == 0) return events;
  const TraceStore::Found found = traces_.find(id);
  if (!found || found->verdict != Verdict::kept) return events;
  const auto spans = static_cast<std::size_t>(
      std::count_if(events.begin(), events.end(),
                    [](const StoryEvent& event) { return event.topic == "ephor.span"; }));
  if (spans >= found->span_count) return events;
  std::set<std::string> ids;
  for (const StoryEvent& event : events) {
    if (event.topic == "ephor.span") ids.insert(text_at(data_of(event), "span_id"));
  }
  std::vector<StoryEvent> all;
  for (StoryEvent& event : archive_.read(found->number)) {
    event.trace_id = hex_of(id);
    if (!ids.contains(text_at(data_of(event), "span_id"))) all.push_back(std::move(event));
  }
  std::move(events.begin(), events.end(), std::back_inserter(all));
  return all;
}

std::string TraceQueries::answer_search(const Json& request) {
  const SearchRequest wanted = SearchRequest::of(request);
  return dump(TraceSearch(traces_, source_).answer(wanted));
}

std::string TraceQueries::answer_trace(const Json& request) {
  const std::string text = request_text(request, "trace_id");
  const auto id = trace_id_from(text);
  if (!id) {
    throw Error(EPHOR_INVALID, "trace_id: found \"" + text + "\", expected 32 hex digits",
                "/trace_id");
  }
  bool is_complete = true;
  std::vector<StoryEvent> events = events_of_trace(*id, &is_complete);
  const TraceStore::Found found = traces_.find(*id);
  if (events.empty() && !found) {
    throw Error(EPHOR_NOT_FOUND, "no event carries the trace id " + hex_of(*id), "/trace_id");
  }
  Json answer = tell_trace(hex_of(*id), std::move(events), !is_complete);
  const auto spans = answer["span_count"].get<std::size_t>();
  // The journal's retention took what the summary still knows of.
  answer["spans_gone"] =
      found && found->span_count > spans ? found->span_count - spans : std::size_t{0};
  answer["summary"] = found ? summary_json(*found.chunk, *found.summary) : Json();
  return dump(answer);
}

std::string TraceQueries::answer_services() const {
  Json names = Json::array();
  for (const auto& [service, operations] : catalog_.services()) names.push_back(service);
  const std::size_t total = names.size();
  return dump(jaeger_answer(std::move(names), total));
}

std::string TraceQueries::answer_operations(const Json& request) const {
  const std::string service = request_text(request, "service");
  if (service.empty()) {
    throw Error(EPHOR_INVALID, "service: found nothing, expected a service's name", "/service");
  }
  const std::string wanted = request_text(request, "spanKind");
  Json list = Json::array();
  if (const auto found = catalog_.services().find(service); found != catalog_.services().end()) {
    for (const auto& [operation, kinds] : found->second) {
      for (const std::string& kind : kinds) {
        if (!wanted.empty() && kind != wanted) continue;
        list.push_back({{"name", operation}, {"spanKind", kind}});
      }
    }
  }
  const std::size_t total = list.size();
  return dump(jaeger_answer(std::move(list), total));
}

std::string TraceQueries::answer_operation_names(const Json& request) const {
  Json list = Json::array();
  const auto found = catalog_.services().find(request_text(request, "service"));
  if (found != catalog_.services().end()) {
    for (const auto& [operation, kinds] : found->second) list.push_back(operation);
  }
  const std::size_t total = list.size();
  return dump(jaeger_answer(std::move(list), total));
}

std::string TraceQueries::answer_jaeger_trace(const Json& request) {
  const std::string text = request_text(request, "trace_id");
  const auto id = jaeger_trace_id(text);
  if (!id) {
    throw Error(EPHOR_INVALID, "trace_id: found \"" + text + "\", expected 1 to 32 hex digits",
                "/trace_id");
  }
  Json trace = jaeger_trace(hex_of(*id), events_of_trace(*id));
  if (trace["spans"].empty()) throw Error(EPHOR_NOT_FOUND, "trace not found", "/trace_id");
  Json data = Json::array();
  data.push_back(std::move(trace));
  return dump(jaeger_answer(std::move(data)));
}

std::string TraceQueries::answer_jaeger_search(const Json& request) {
  Json data = Json::array();
  if (const std::string ids = request_text(request, "traceID"); !ids.empty()) {
    for (std::size_t at = 0; at <= ids.size();) {
      const std::size_t comma = std::min(ids.find(',', at), ids.size());
      if (const auto id = jaeger_trace_id(std::string_view(ids).substr(at, comma - at))) {
        Json trace = jaeger_trace(hex_of(*id), events_of_trace(*id));
        if (!trace["spans"].empty()) data.push_back(std::move(trace));
      }
      at = comma + 1;
    }
    return dump(jaeger_answer(std::move(data)));
  }
  const JaegerFilter filter = JaegerFilter::of(request);
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 20, 1, 1500));
  const auto from_ns = epoch_parameter(request, "start", 1000);
  const auto to_ns = epoch_parameter(request, "end", 1000);
  const std::int64_t deadline_ns =
      monotonic_ns() +
      request_integer(request, "deadline_ms", kJaegerDeadlineMs, 1, kJaegerDeadlineMsMax) *
          1'000'000;
  bool is_complete = true;

  // Names first: a chunk, then a summary, that lacks them is passed by without reading spans.
  const auto has_names = [&](const OperationName& name) {
    return (filter.service.empty() || name.service == filter.service) &&
           (filter.operation.empty() || name.operation == filter.operation);
  };
  const auto consider = [&](const TraceChunk& chunk, const TraceSummary& summary) {
    if (from_ns && summary.end_ns < *from_ns) return true;
    if (to_ns && summary.start_ns > *to_ns) return true;
    // A trace is at least as long as each of its spans.
    if (filter.duration_min_ns &&
        static_cast<double>(summary.duration_ns()) < *filter.duration_min_ns) {
      return true;
    }
    const bool may_match =
        summary.is_cut ||
        std::any_of(summary.operations.begin(), summary.operations.end(),
                    [&](std::uint16_t place) { return has_names(chunk.operations()[place]); });
    if (!may_match) return true;
    if (monotonic_ns() > deadline_ns) {
      is_complete = false;
      return false;
    }
    const std::vector<StoryEvent> events = events_of_trace(summary.id);
    const bool is_wanted = std::any_of(events.begin(), events.end(), [&](const StoryEvent& event) {
      return event.topic == "ephor.span" && filter.matches(event);
    });
    if (is_wanted) data.push_back(jaeger_trace(hex_of(summary.id), events));
    return data.size() < limit;
  };
  traces_.for_each_latest(
      TraceStore::kNewest,
      [&](const TraceChunk& chunk) {
        return chunk.operations().size() >= TraceChunk::kOperationsMax ||
               std::any_of(chunk.operations().begin(), chunk.operations().end(), has_names);
      },
      consider);
  Json answer = jaeger_answer(std::move(data));
  if (!is_complete) {
    answer["errors"] = Json::array(
        {{{"code", 504}, {"msg", "the deadline passed before all traces were looked at"}}});
  }
  return dump(answer);
}

std::string TraceQueries::answer_dependencies(const Json& request) const {
  RedFilter filter;
  filter.to_ns = epoch_parameter(request, "endTs", 1'000'000);
  const auto lookback_ns = epoch_parameter(request, "lookback", 1'000'000);
  if (filter.to_ns && lookback_ns) filter.from_ns = *filter.to_ns - *lookback_ns;
  const std::string service = request_text(request, "service");
  Json data = Json::array();
  for (const RedRow& edge : graph_.service_edges().ask(filter).operations) {
    if (!service.empty() && edge.component != service && edge.operation != service) continue;
    data.push_back(
        {{"parent", edge.component}, {"child", edge.operation}, {"callCount", edge.cell.count}});
  }
  return dump(jaeger_answer(std::move(data)));
}

}  // namespace ephor::tracer
