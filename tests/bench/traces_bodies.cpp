// SPDX-License-Identifier: Apache-2.0
#include "traces_bodies.hpp"

#include <array>
#include <bit>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

namespace ephor::bench {
namespace {

using Json = nlohmann::ordered_json;

// ---- protobuf: opentelemetry/proto/{collector/trace,trace,common,resource}/v1 ---------------

class Message {
 public:
  Message& varint(unsigned field, std::uint64_t value) {
    raw(field << 3U);
    raw(value);
    return *this;
  }
  Message& fixed64(unsigned field, std::uint64_t value) {
    raw(field << 3U | 1U);
    for (unsigned i = 0; i < 64; i += 8) bytes_.push_back(static_cast<char>(value >> i & 0xFFU));
    return *this;
  }
  Message& fixed32(unsigned field, std::uint32_t value) {
    raw(field << 3U | 5U);
    for (unsigned i = 0; i < 32; i += 8) bytes_.push_back(static_cast<char>(value >> i & 0xFFU));
    return *this;
  }
  Message& bytes(unsigned field, std::string_view value) {
    raw(field << 3U | 2U);
    raw(value.size());
    bytes_.append(value);
    return *this;
  }
  Message& message(unsigned field, const Message& value) { return bytes(field, value.bytes_); }
  const std::string& view() const { return bytes_; }

 private:
  void raw(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7U) bytes_.push_back(static_cast<char>(value | 0x80U));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

template <std::size_t size>
std::string_view view(const std::array<std::uint8_t, size>& id) {
  return {reinterpret_cast<const char*>(id.data()), size};
}

Message any_value(const AttributeValue& value) {
  Message any;
  if (const auto* text = std::get_if<std::string>(&value)) any.bytes(1, *text);
  if (const auto* flag = std::get_if<bool>(&value)) any.varint(2, *flag ? 1 : 0);
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    any.varint(3, static_cast<std::uint64_t>(*whole));
  }
  if (const auto* number = std::get_if<double>(&value)) {
    any.fixed64(4, std::bit_cast<std::uint64_t>(*number));
  }
  return any;
}

Message key_value(std::string_view name, const AttributeValue& value) {
  Message pair;
  pair.bytes(1, name).message(2, any_value(value));
  return pair;
}

Message protobuf_span(const Span& span) {
  Message out;
  out.bytes(1, view(span.trace_id)).bytes(2, view(span.span_id));
  if (span.has_parent) out.bytes(4, view(span.parent_id));
  out.bytes(5, span.name).varint(6, static_cast<std::uint64_t>(span.kind));
  out.fixed64(7, static_cast<std::uint64_t>(span.start_ns));
  out.fixed64(8, static_cast<std::uint64_t>(span.end_ns));
  for (const Attribute& one : span.attributes) out.message(9, key_value(one.name, one.value));
  if (span.has_exception) {
    Message event;
    event.fixed64(1, static_cast<std::uint64_t>(span.end_ns)).bytes(2, "exception");
    event.message(3, key_value("exception.type", std::string(kExceptionType)));
    event.message(3, key_value("exception.message", std::string(kExceptionMessage)));
    out.message(11, event);
  }
  if (span.is_error) {
    Message status;
    status.bytes(2, kExceptionMessage).varint(3, 2);
    out.message(15, status);
  }
  out.fixed32(16, 0x101);
  return out;
}

using ByService = std::array<std::vector<const Span*>, kServiceCount>;

std::string protobuf_body(const ByService& by_service) {
  Message request;
  for (std::size_t service = 0; service < kServiceCount; ++service) {
    if (by_service[service].empty()) continue;
    Message resource;
    resource.message(1, key_value("service.name", std::string(kServices[service])));
    resource.message(1, key_value("service.version", std::string("3.1.4")));
    resource.message(1, key_value("host.name", std::string("trader-01")));
    resource.message(1, key_value("telemetry.sdk.language", std::string("cpp")));
    Message scope;
    scope.bytes(1, "ares.tracing").bytes(2, "1.2.0");
    Message scope_spans;
    scope_spans.message(1, scope);
    for (const Span* span : by_service[service]) scope_spans.message(2, protobuf_span(*span));
    Message resource_spans;
    resource_spans.message(1, resource).message(2, scope_spans);
    request.message(1, resource_spans);
  }
  return request.view();
}

// ---- OTLP/JSON ------------------------------------------------------------------------------

Json json_value(const AttributeValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return {{"stringValue", *text}};
  if (const auto* flag = std::get_if<bool>(&value)) return {{"boolValue", *flag}};
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    return {{"intValue", std::to_string(*whole)}};
  }
  return {{"doubleValue", std::get<double>(value)}};
}

Json json_pair(std::string_view name, const AttributeValue& value) {
  return {{"key", name}, {"value", json_value(value)}};
}

Json json_span(const Span& span) {
  Json out{{"traceId", hex(span.trace_id.data(), 16)}, {"spanId", hex(span.span_id.data(), 8)}};
  if (span.has_parent) out["parentSpanId"] = hex(span.parent_id.data(), 8);
  out["name"] = span.name;
  out["kind"] = span.kind;
  out["startTimeUnixNano"] = std::to_string(span.start_ns);
  out["endTimeUnixNano"] = std::to_string(span.end_ns);
  Json attributes = Json::array();
  for (const Attribute& one : span.attributes) {
    attributes.push_back(json_pair(one.name, one.value));
  }
  out["attributes"] = std::move(attributes);
  if (span.has_exception) {
    Json pairs = Json::array();
    pairs.push_back(json_pair("exception.type", std::string(kExceptionType)));
    pairs.push_back(json_pair("exception.message", std::string(kExceptionMessage)));
    Json event{{"timeUnixNano", std::to_string(span.end_ns)}, {"name", "exception"}};
    event["attributes"] = std::move(pairs);
    out["events"] = Json::array();
    out["events"].push_back(std::move(event));
  }
  out["status"] = Json::object();
  if (span.is_error) out["status"] = {{"message", kExceptionMessage}, {"code", 2}};
  out["flags"] = 0x101;
  return out;
}

std::string json_body(const ByService& by_service) {
  Json request{{"resourceSpans", Json::array()}};
  for (std::size_t service = 0; service < kServiceCount; ++service) {
    if (by_service[service].empty()) continue;
    Json attributes = Json::array();
    attributes.push_back(json_pair("service.name", std::string(kServices[service])));
    attributes.push_back(json_pair("service.version", std::string("3.1.4")));
    attributes.push_back(json_pair("host.name", std::string("trader-01")));
    attributes.push_back(json_pair("telemetry.sdk.language", std::string("cpp")));
    Json spans = Json::array();
    for (const Span* span : by_service[service]) spans.push_back(json_span(*span));
    Json scope_spans{{"scope", {{"name", "ares.tracing"}, {"version", "1.2.0"}}}};
    scope_spans["spans"] = std::move(spans);
    Json resource_spans;
    resource_spans["resource"]["attributes"] = std::move(attributes);
    resource_spans["scopeSpans"] = Json::array();
    resource_spans["scopeSpans"].push_back(std::move(scope_spans));
    request["resourceSpans"].push_back(std::move(resource_spans));
  }
  return request.dump();
}

// ---- CloudEvents ----------------------------------------------------------------------------

std::string time_text(std::int64_t time_ns) {
  const std::time_t seconds = time_ns / 1'000'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 64> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text.data() + size, text.size() - size, ".%09lldZ",
                static_cast<long long>(time_ns % 1'000'000'000));
  return text.data();
}

std::string event_line(const Span& span) {
  const std::string span_id = hex(span.span_id.data(), 8);
  Json attributes = Json::object();
  for (const Attribute& one : span.attributes) {
    std::visit([&](const auto& value) { attributes[std::string(one.name)] = value; }, one.value);
  }
  Json data{{"trace_id", hex(span.trace_id.data(), 16)}, {"span_id", span_id}};
  if (span.has_parent) data["parent_span_id"] = hex(span.parent_id.data(), 8);
  data["component"] = kServices[span.service];
  data["operation"] = span.name;
  data["start_time_unix_nano"] = span.start_ns;
  data["end_time_unix_nano"] = span.end_ns;
  data["status"] = span.is_error ? "error" : "ok";
  if (span.is_error) data["error_message"] = kExceptionMessage;
  const Json correlation = attributes["correlation.id"];
  data["attributes"] = std::move(attributes);
  Json event{{"specversion", "1.0"}, {"id", span_id}, {"source", kServices[span.service]}};
  event["type"] = "ephor.span";
  event["time"] = time_text(span.end_ns);
  event["correlationid"] = correlation;
  event["data"] = std::move(data);
  return event.dump() + "\n";
}

std::string events_body(const ByService& by_service) {
  std::string body;
  for (const auto& spans : by_service) {
    for (const Span* span : spans) body += event_line(*span);
  }
  return body;
}

}  // namespace

std::string make_body(const TraceOptions& options, Encoding encoding, std::uint64_t first,
                      std::uint64_t count) {
  std::vector<Trace> traces;
  const std::uint64_t first_trace = first / kSpansPerTrace;
  for (std::uint64_t i = first_trace; i * kSpansPerTrace < first + count; ++i) {
    traces.push_back(make_trace(options, i));
  }
  ByService by_service;
  for (std::uint64_t at = first; at < first + count; ++at) {
    const Trace& trace = traces[at / kSpansPerTrace - first_trace];
    const Span& span = trace.spans[at % kSpansPerTrace];
    by_service[span.service].push_back(&span);
  }
  switch (encoding) {
    case Encoding::protobuf:
      return protobuf_body(by_service);
    case Encoding::json:
      return json_body(by_service);
    case Encoding::events:
      return events_body(by_service);
  }
  return {};
}

std::string_view path_of(Encoding encoding) {
  return encoding == Encoding::events ? "/api/events" : "/v1/traces";
}

std::string_view content_type_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::protobuf:
      return "application/x-protobuf";
    case Encoding::json:
      return "application/json";
    case Encoding::events:
      return "application/x-ndjson";
  }
  return {};
}

}  // namespace ephor::bench
