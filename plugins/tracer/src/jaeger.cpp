// SPDX-License-Identifier: Apache-2.0
#include "jaeger.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "event_members.hpp"

namespace ephor::tracer {
namespace {

constexpr std::string_view kServiceName = "service.name";

Json tag(std::string_view key, std::string_view type, Json value) {
  return {{"key", key}, {"type", type}, {"value", std::move(value)}};
}

// Arrays and maps as their JSON text, as the OpenTelemetry Collector writes them for Jaeger.
Json tag_of(std::string_view key, const Json& value) {
  if (value.is_boolean()) return tag(key, "bool", value);
  if (value.is_number_integer()) return tag(key, "int64", value);
  if (value.is_number_float()) return tag(key, "float64", value);
  if (value.is_string()) return tag(key, "string", value);
  if (value.is_object() && value.size() == 1 && value.contains("bytesValue")) {
    return tag(key, "binary", value["bytesValue"]);
  }
  return tag(key, "string", dump(value));
}

void add_tags(Json& tags, const Json& attributes) {
  for (const auto& [key, value] : attributes.items()) tags.push_back(tag_of(key, value));
}

void add_text_tag(Json& tags, std::string_view key, const std::string& text) {
  if (!text.empty()) tags.push_back(tag(key, "string", text));
}

Json tags_of(const StoryEvent& event) {
  const Json& data = data_of(event);
  Json tags = Json::array();
  const Json& attributes = member(data, "attributes");
  add_tags(tags, attributes);
  const auto add_if_absent = [&](std::string_view key, const std::string& text) {
    if (!attributes.contains(key)) add_text_tag(tags, key, text);
  };
  add_if_absent("span.kind", text_at(data, "kind"));
  const std::string status = text_at(data, "status");
  if (status == "error") {
    if (!attributes.contains("error")) tags.push_back(tag("error", "bool", true));
    add_if_absent("otel.status_code", "ERROR");
    add_if_absent("otel.status_description", text_at(data, "error_message"));
  } else if (status == "ok") {
    add_if_absent("otel.status_code", "OK");
  }
  add_if_absent("component", text_at(data, "component"));
  add_if_absent("correlation.id", text_at(event.event, "correlationid"));
  add_if_absent("w3c.tracestate", text_at(data, "trace_state"));
  const Json& scope = member(data, "scope");
  add_if_absent("otel.scope.name", text_at(scope, "name"));
  add_if_absent("otel.scope.version", text_at(scope, "version"));
  add_tags(tags, member(scope, "attributes"));
  return tags;
}

Json logs_of(const Json& data) {
  Json logs = Json::array();
  for (const Json& event : member(data, "events")) {
    const Json& attributes = member(event, "attributes");
    Json fields = Json::array();
    if (!attributes.contains("event")) add_text_tag(fields, "event", text_at(event, "name"));
    add_tags(fields, attributes);
    const std::int64_t time_ns = integer_at(event, "time_unix_nano");
    logs.push_back({{"timestamp", time_ns / 1000},
                    {"timeUnixNano", std::to_string(time_ns)},
                    {"name", text_at(event, "name")},
                    {"fields", std::move(fields)}});
  }
  return logs;
}

Json references_of(const Json& data, const std::string& trace_id) {
  Json references = Json::array();
  const std::string parent = text_at(data, "parent_span_id");
  if (!parent.empty()) {
    references.push_back({{"refType", "CHILD_OF"}, {"traceID", trace_id}, {"spanID", parent}});
  }
  for (const Json& link : member(data, "links")) {
    Json reference{{"refType", "FOLLOWS_FROM"},
                   {"traceID", text_at(link, "trace_id")},
                   {"spanID", text_at(link, "span_id")}};
    Json attributes = Json::array();
    add_tags(attributes, member(link, "attributes"));
    add_text_tag(attributes, "w3c.tracestate", text_at(link, "trace_state"));
    if (!attributes.empty()) reference["attributes"] = std::move(attributes);
    references.push_back(std::move(reference));
  }
  return references;
}

Json process_of(const StoryEvent& event) {
  Json tags = Json::array();
  for (const auto& [key, value] : member(data_of(event), "resource").items()) {
    if (key == "attributes" && value.is_object()) {
      for (const auto& [name, one] : value.items()) {
        if (name != kServiceName) tags.push_back(tag_of(name, one));
      }
    } else if (key != kServiceName) {
      tags.push_back(tag_of(key, value));
    }
  }
  return {{"serviceName", service_of(event)}, {"tags", std::move(tags)}};
}

Json span_json(const StoryEvent& event, const std::string& trace_id, const std::string& process) {
  const Json& data = data_of(event);
  const std::int64_t start_ns = integer_at(data, "start_time_unix_nano");
  const std::int64_t end_ns = integer_at(data, "end_time_unix_nano");
  Json span{{"traceID", trace_id},
            {"spanID", text_at(data, "span_id")},
            {"operationName", text_at(data, "operation")},
            {"references", references_of(data, trace_id)},
            {"startTime", start_ns / 1000},
            {"duration", (end_ns - start_ns) / 1000},
            {"startTimeUnixNano", std::to_string(start_ns)},
            {"endTimeUnixNano", std::to_string(end_ns)},
            {"tags", tags_of(event)},
            {"logs", logs_of(data)},
            {"processID", process},
            {"warnings", nullptr}};
  if (const std::int64_t flags = integer_at(data, "flags"); flags != 0) {
    span["flags"] = flags & 0xFF;
  }
  return span;
}

}  // namespace

Json jaeger_answer(Json data, std::size_t total) {
  return {{"data", std::move(data)},
          {"total", total},
          {"limit", 0},
          {"offset", 0},
          {"errors", nullptr}};
}

std::string service_of(const StoryEvent& event) {
  const Json& data = data_of(event);
  const std::string own = text_at(member(data, "attributes"), kServiceName);
  const std::string resource = text_at(member(data, "resource"), kServiceName);
  const std::string& first = event.is_otlp ? resource : own;
  const std::string& second = event.is_otlp ? own : resource;
  if (!first.empty()) return first;
  if (!second.empty()) return second;
  return event.is_otlp ? "unknown_service" : text_at(event.event, "source");
}

Json jaeger_trace(const std::string& trace_id, const std::vector<StoryEvent>& events) {
  std::vector<const StoryEvent*> spans;
  for (const StoryEvent& event : events) {
    if (event.topic == "ephor.span") spans.push_back(&event);
  }
  const auto start_of = [](const StoryEvent* event) {
    return integer_at(data_of(*event), "start_time_unix_nano");
  };
  std::stable_sort(spans.begin(), spans.end(),
                   [&](const auto* a, const auto* b) { return start_of(a) < start_of(b); });
  Json processes = Json::object();
  std::map<std::string, std::string> known;  // process as text -> its id
  std::set<std::string> span_ids;
  Json list = Json::array();
  for (const StoryEvent* span : spans) {
    if (!span_ids.insert(text_at(data_of(*span), "span_id")).second) continue;
    Json process = process_of(*span);
    const auto [at, is_new] =
        known.emplace(process.dump(-1, ' ', false, Json::error_handler_t::replace), "");
    if (is_new) {
      at->second = "p" + std::to_string(known.size());
      processes[at->second] = std::move(process);
    }
    list.push_back(span_json(*span, trace_id, at->second));
  }
  return {{"traceID", trace_id},
          {"spans", std::move(list)},
          {"processes", std::move(processes)},
          {"warnings", nullptr}};
}

std::optional<TraceId> jaeger_trace_id(std::string_view text) {
  if (text.empty() || text.size() > 32) return std::nullopt;
  std::string digits(32 - text.size(), '0');
  digits += text;
  return trace_id_from(digits);
}

JaegerFilter JaegerFilter::of(const Json& request) {
  JaegerFilter filter;
  filter.service = request_text(request, "service");
  filter.operation = request_text(request, "operation");
  const auto duration = [&](std::string_view name) -> std::optional<double> {
    const std::string text = request_text(request, name);
    if (text.empty()) return std::nullopt;
    if (const auto ns = duration_ns_from(text)) return ns;
    throw Error(EPHOR_INVALID,
                std::string(name) + ": found \"" + text + "\", expected a duration such as 1.2s",
                "/" + std::string(name));
  };
  filter.duration_min_ns = duration("minDuration");
  filter.duration_max_ns = duration("maxDuration");
  if (const std::string tags = request_text(request, "tags"); !tags.empty()) {
    const Json object = Json::parse(tags, nullptr, false);
    if (!object.is_object()) {
      throw Error(EPHOR_INVALID, "tags: found \"" + tags + "\", expected a JSON object of texts",
                  "/tags");
    }
    for (const auto& [key, value] : object.items()) {
      filter.tags.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  if (const std::string one = request_text(request, "tag"); !one.empty()) {
    const std::size_t colon = one.find(':');
    if (colon == std::string::npos) {
      throw Error(EPHOR_INVALID, "tag: found \"" + one + "\", expected key:value", "/tag");
    }
    filter.tags.emplace_back(one.substr(0, colon), one.substr(colon + 1));
  }
  return filter;
}

bool JaegerFilter::matches(const StoryEvent& span) const {
  const Json& data = data_of(span);
  if (!service.empty() && service_of(span) != service) return false;
  if (!operation.empty() && text_at(data, "operation") != operation) return false;
  const auto ns = static_cast<double>(integer_at(data, "end_time_unix_nano") -
                                      integer_at(data, "start_time_unix_nano"));
  if (duration_min_ns && ns < *duration_min_ns) return false;
  if (duration_max_ns && ns > *duration_max_ns) return false;
  if (tags.empty()) return true;
  const Json span_tags = tags_of(span);
  const Json process = process_of(span);
  const Json logs = logs_of(data);
  const auto has = [&](const Json& list, const std::pair<std::string, std::string>& wanted) {
    return std::any_of(list.begin(), list.end(), [&](const Json& one) {
      const Json& value = one.at("value");
      return one.at("key") == wanted.first &&
             is_attribute_value(
                 wanted.second, value.is_string() ? value.get<std::string>() : value.dump(),
                 value.is_number() ? std::optional(value.get<double>()) : std::nullopt);
    });
  };
  return std::all_of(tags.begin(), tags.end(), [&](const auto& wanted) {
    return has(span_tags, wanted) || has(process.at("tags"), wanted) ||
           std::any_of(logs.begin(), logs.end(),
                       [&](const Json& log) { return has(log.at("fields"), wanted); });
  });
}

}  // namespace ephor::tracer
