// SPDX-License-Identifier: Apache-2.0
#include "openapi.hpp"

#include <algorithm>
#include <cctype>
#include <ephor/json.hpp>
#include <set>

namespace ephor::http_api {
namespace {

// A plugin's schema is not ours to trust: unreadable text counts as none.
Json schema_from(const std::string& text) {
  if (text.empty()) return {};
  Json schema = Json::parse(text, nullptr, false);
  return schema.is_discarded() || !schema.is_object() ? Json() : schema;
}

std::string lower(std::string text) {
  for (char& character : text) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + 32);
  }
  return text;
}

std::string operation_id(const Endpoint& endpoint) {
  std::string id = lower(endpoint.method);
  for (const std::string& segment : split_path(endpoint.path)) {
    id += '_';
    for (const char character : segment) {
      if (character == '{' || character == '}') continue;
      id += std::isalnum(static_cast<unsigned char>(character)) != 0 ? character : '_';
    }
  }
  return id;
}

std::set<std::string> path_parameters(const Endpoint& endpoint) {
  std::set<std::string> names;
  for (const std::string& segment : split_path(endpoint.path)) {
    if (segment.size() > 2 && segment.front() == '{') {
      names.insert(segment.substr(1, segment.size() - 2));
    }
  }
  return names;
}

Json parameter(const std::string& name, std::string_view in, bool is_required, const Json& schema) {
  return {{"name", name},
          {"in", in},
          {"required", is_required},
          {"schema", schema.is_object() ? schema : Json{{"type", "string"}}}};
}

Json parameters_of(const Endpoint& endpoint, const Json& request) {
  const Json properties =
      request.is_object() ? request.value("properties", Json::object()) : Json::object();
  const std::set<std::string> in_path = path_parameters(endpoint);
  Json list = Json::array();
  for (const std::string& name : in_path) {
    list.push_back(parameter(name, "path", true, properties.value(name, Json())));
  }
  for (const auto& [name, schema] : properties.items()) {
    if (name != "body" && !in_path.contains(name)) {
      list.push_back(parameter(name, "query", false, schema));
    }
  }
  if (endpoint.builtin == Builtin::query) {
    Json after = parameter("after_sequence", "query", false, {{"type", "integer"}, {"minimum", 0}});
    after["description"] = "Wait until the answer covers this sequence: read your own writes";
    list.push_back(after);
  }
  if (endpoint.builtin == Builtin::influx_write) {
    list.push_back(parameter("db", "query", false, {}));
  }
  if (endpoint.builtin == Builtin::influx_write_v2) {
    list.push_back(parameter("org", "query", false, {}));
    list.push_back(parameter("bucket", "query", false, {}));
  }
  if (endpoint.builtin == Builtin::influx_write || endpoint.builtin == Builtin::influx_write_v2) {
    const Json units{{"type", "string"}, {"enum", {"ns", "us", "ms", "s"}}, {"default", "ns"}};
    list.push_back(parameter("precision", "query", false, units));
  }
  if (endpoint.builtin == Builtin::websocket)
    list.push_back(parameter("topics", "query", false, {}));
  return list;
}

Json request_body_of(const Endpoint& endpoint, const Json& request) {
  if (endpoint.builtin == Builtin::ingest) {
    const Json event{{"schema", {{"type", "object"}}}};
    return {{"required", true},
            {"content",
             {{"application/cloudevents+json", event},
              {"application/cloudevents-batch+json",
               {{"schema", {{"type", "array"}, {"items", {{"type", "object"}}}}}}},
              {"application/x-ndjson", {{"schema", {{"type", "string"}}}}}}}};
  }
  switch (endpoint.builtin) {
    case Builtin::otlp_traces:
    case Builtin::otlp_metrics:
    case Builtin::otlp_logs:
      return {{"required", true},
              {"content",
               {{"application/x-protobuf", {{"schema", {{"type", "string"}}}}},
                {"application/json", {{"schema", {{"type", "object"}}}}}}}};
    case Builtin::influx_write:
    case Builtin::influx_write_v2:
      return {{"required", true},
              {"content", {{"text/plain", {{"schema", {{"type", "string"}}}}}}}};
    default:
      break;
  }
  if (endpoint.method == "GET" || endpoint.method == "DELETE") return {};
  Json schema = Json::object();
  if (request.is_object()) {
    const Json properties = request.value("properties", Json::object());
    schema = properties.value("body", Json::object());
  }
  return {{"content", {{"application/json", {{"schema", schema}}}}}};
}

std::string good_status_of(Builtin builtin) {
  switch (builtin) {
    case Builtin::websocket:
      return "101";
    case Builtin::influx_write:
    case Builtin::influx_write_v2:
    case Builtin::influx_ping:
      return "204";
    default:
      return "200";
  }
}

Json operation_of(const Endpoint& endpoint) {
  const Json request = schema_from(endpoint.request_schema);
  const Json response = schema_from(endpoint.response_schema);
  const std::string type = endpoint.content_type.substr(0, endpoint.content_type.find(';'));
  const std::string good = good_status_of(endpoint.builtin);
  Json operation{{"operationId", operation_id(endpoint)},
                 {"summary", endpoint.summary},
                 {"tags", {endpoint.instance}},
                 {"x-ephor-scope", endpoint.scope.empty() ? "open" : endpoint.scope},
                 {"parameters", parameters_of(endpoint, request)}};
  Json answer{{"description", endpoint.summary}};
  if (good == "200") {
    answer["content"] = {{type, {{"schema", response.is_object() ? response : Json::object()}}}};
  }
  operation["responses"] = {{good, answer},
                            {"default", {{"$ref", "#/components/responses/Error"}}}};
  if (Json body = request_body_of(endpoint, request); !body.is_null()) {
    operation["requestBody"] = std::move(body);
  }
  if (endpoint.scope.empty()) operation["security"] = Json::array();
  return operation;
}

}  // namespace

std::string openapi_document(const std::vector<const Endpoint*>& endpoints,
                             std::string_view version, bool has_tokens) {
  Json paths = Json::object();
  for (const Endpoint* endpoint : endpoints) {
    paths[endpoint->path][lower(endpoint->method)] = operation_of(*endpoint);
  }
  const Json error_schema{
      {"type", "object"},
      {"properties",
       {{"error",
         {{"type", "object"},
          {"properties",
           {{"code", {{"type", "string"}}},
            {"message", {{"type", "string"}}},
            {"pointer", {{"type", {"string", "null"}}, {"description", "RFC 6901"}}}}}}}}}};
  Json document{{"openapi", "3.1.0"},
                {"info", {{"title", "Ephor"}, {"version", version}}},
                {"paths", paths},
                {"components",
                 {{"responses",
                   {{"Error",
                     {{"description", "What was found and what was expected"},
                      {"content", {{"application/json", {{"schema", error_schema}}}}}}}}}}}};
  if (has_tokens) {
    document["components"]["securitySchemes"] = {
        {"bearer", {{"type", "http"}, {"scheme", "bearer"}}}};
    document["security"] = Json::array({Json{{"bearer", Json::array()}}});
  }
  return dump(document);
}

std::string route_list(const std::vector<const Endpoint*>& endpoints) {
  Json routes = Json::array();
  for (const Endpoint* endpoint : endpoints) {
    routes.push_back({{"method", endpoint->method},
                      {"path", endpoint->path},
                      {"query", endpoint->query.empty() ? Json() : Json(endpoint->query)},
                      {"summary", endpoint->summary},
                      {"scope", endpoint->scope.empty() ? Json() : Json(endpoint->scope)},
                      {"instance", endpoint->instance}});
  }
  return dump(Json{{"routes", routes}});
}

}  // namespace ephor::http_api
