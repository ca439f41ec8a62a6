// SPDX-License-Identifier: Apache-2.0
#include "route_table.hpp"

#include <algorithm>
#include <ephor/json.hpp>
#include <utility>

#include "page.hpp"

namespace ephor::http_api {
namespace {

Endpoint own(std::string method, std::string path, Builtin builtin, std::string scope,
             std::string summary, std::string content_type = "application/json") {
  Endpoint endpoint;
  endpoint.method = std::move(method);
  endpoint.path = std::move(path);
  endpoint.builtin = builtin;
  endpoint.scope = std::move(scope);
  endpoint.summary = std::move(summary);
  endpoint.content_type = std::move(content_type);
  endpoint.instance = "http_api";
  return endpoint;
}

void visit_route(void* user, ephor_view instance, const ephor_http_route* route) {
  guarded(nullptr, [&] {
    Endpoint endpoint;
    endpoint.method = to_text(route->method);
    endpoint.path = to_text(route->path);
    endpoint.query = to_text(route->query);
    endpoint.scope = route->scope.size == 0 ? "read" : to_text(route->scope);
    endpoint.summary = to_text(route->summary);
    endpoint.request_schema = to_text(route->request_schema);
    endpoint.response_schema = to_text(route->response_schema);
    if (route->content_type.size > 0) endpoint.content_type = to_text(route->content_type);
    endpoint.instance = to_text(instance);
    static_cast<Router*>(user)->add(std::move(endpoint));
  });
}

}  // namespace

std::vector<Endpoint> builtin_endpoints() {
  constexpr std::string_view kIngestResult = R"json({"type": "object", "properties": {
    "accepted": {"type": "integer"}, "duplicate": {"type": "integer"},
    "rejected": {"type": "integer"}, "events": {"type": "integer"},
    "last_sequence": {"type": "integer"}, "rejections_truncated": {"type": "boolean"},
    "rejections": {"type": "array", "items": {"type": "object", "properties": {
      "line": {"type": "integer"}, "pointer": {"type": "string"}, "reason": {"type": "string"}}}}}})json";
  std::vector<Endpoint> own_endpoints{
      own("POST", "/api/events", Builtin::ingest, "write",
          "Takes CloudEvents (one, a batch, NDJSON; gzip or zstd); answers when they are durable"),
      own("POST", "/v1/traces", Builtin::otlp_traces, "write",
          "OTLP/HTTP: takes spans (protobuf or JSON; gzip or zstd); answers when they are durable"),
      own("POST", "/v1/metrics", Builtin::otlp_metrics, "write", "OTLP/HTTP: takes metrics"),
      own("POST", "/v1/logs", Builtin::otlp_logs, "write", "OTLP/HTTP: takes log records"),
      own("POST", "/write", Builtin::influx_write, "write",
          "InfluxDB 1: takes lines (db, precision); answers when they are durable"),
      own("POST", "/api/v2/write", Builtin::influx_write_v2, "write",
          "InfluxDB 2: takes lines (bucket, org, precision); answers when they are durable"),
      own("GET", "/ping", Builtin::influx_ping, "", "204, as clients of InfluxDB ask for"),
      own("GET", "/ws", Builtin::websocket, "read",
          "WebSocket: events by topic pattern and answers of GET routes, live"),
      own("GET", "/openapi.json", Builtin::openapi, "read", "This API as OpenAPI 3.1"),
      own("GET", "/api", Builtin::list, "read", "Every route"),
      own("GET", "/metrics", Builtin::metrics, "read", "Prometheus text format",
          "text/plain; version=0.0.4; charset=utf-8"),
      own("GET", "/health/live", Builtin::live, "", "200 while the process lives"),
      own("GET", "/health/ready", Builtin::ready, "", "200 when ready for work, else 503"),
  };
  own_endpoints[0].response_schema = kIngestResult;
  for (const PageAsset& asset : kPageAssets) {
    own_endpoints.push_back(own("GET", std::string(asset.path), Builtin::page, "",
                                std::string(asset.summary), std::string(asset.content_type)));
  }
  return own_endpoints;
}

RouteTable::RouteTable(const Host& host)
    : host_(host), http_(host.extension<ephor_http>("ephor.http/1")) {}

// The plugin's own come first: another plugin cannot take their place.
Router RouteTable::build() const {
  Router router;
  for (Endpoint& endpoint : builtin_endpoints()) router.add(std::move(endpoint));
  if (http_ != nullptr) http_->visit(http_->context, &visit_route, &router);
  return router;
}

std::shared_ptr<const Router> RouteTable::current() {
  const std::uint64_t generation = http_ == nullptr ? 0 : http_->generation(http_->context);
  std::lock_guard lock(mutex_);
  if (router_ == nullptr || generation != generation_) {
    router_ = std::make_shared<const Router>(build());
    generation_ = generation;
  }
  return router_;
}

RequestMetrics::Figures& RequestMetrics::of(std::string_view method, std::string_view route) {
  const std::string key = std::string(method) + ' ' + std::string(route);
  std::lock_guard lock(mutex_);
  auto& figures = figures_[key];
  if (figures != nullptr) return *figures;
  figures = std::make_unique<Figures>();
  Json labels{{"method", method}, {"route", route}};
  figures->seconds_sum = host_.counter("ephor_http_request_seconds_sum",
                                       "Seconds spent on answering, summed", dump(labels));
  figures->seconds_count =
      host_.counter("ephor_http_request_seconds_count",
                    "Requests in ephor_http_request_seconds_sum", dump(labels));
  for (std::size_t i = 1; i < figures->by_class.size(); ++i) {
    labels["status"] = std::to_string(i) + "xx";
    figures->by_class[i] = host_.counter("ephor_http_requests_total",
                                         "Requests by route and class of status", dump(labels));
  }
  return *figures;
}

void RequestMetrics::count(std::string_view method, std::string_view route, int status,
                           double seconds) {
  Figures& figures = of(method, route);
  const auto status_class = static_cast<std::size_t>(std::clamp(status / 100, 1, 5));
  figures.by_class[status_class].add();
  figures.seconds_sum.add(seconds);
  figures.seconds_count.add();
}

}  // namespace ephor::http_api
