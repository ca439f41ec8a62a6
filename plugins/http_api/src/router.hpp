// SPDX-License-Identifier: Apache-2.0
//
// Path templates to endpoints. A literal segment wins over a parameter; a parameter matches exactly
// one segment.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "target.hpp"

namespace ephor::http_api {

// What answers a route: a query of the registry, or one of the plugin's own.
enum class Builtin {
  query,
  page,
  ingest,
  otlp_traces,
  otlp_metrics,
  otlp_logs,
  influx_write,
  influx_write_v2,
  influx_ping,
  websocket,
  openapi,
  list,
  metrics,
  live,
  ready,
};

// Brings events in: served by threads of its own, and by the listener for ingest.
constexpr bool is_ingest(Builtin builtin) {
  return builtin >= Builtin::ingest && builtin <= Builtin::influx_write_v2;
}

struct Endpoint {
  std::string method;
  std::string path;  // the template
  std::string query;
  std::string scope;  // empty: open to everyone
  std::string summary;
  std::string request_schema;
  std::string response_schema;
  std::string content_type = "application/json";
  std::string instance;
  Builtin builtin = Builtin::query;
};

class Router {
 public:
  Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;
  ~Router();

  // False if the method and an equal template are there already; then nothing changes.
  bool add(Endpoint endpoint);

  struct Match {
    const Endpoint* endpoint = nullptr;  // null: see `allow`
    Parameters parameters;               // of the path, decoded
    std::string allow;                   // methods of this path, "GET, HEAD"; empty: no such path
  };
  // HEAD is answered by GET. Parameters are those of the template found.
  Match find(std::string_view method, const std::vector<std::string>& segments) const;

  // In order of path, then method.
  std::vector<const Endpoint*> endpoints() const;

 private:
  struct Node;
  std::unique_ptr<Node> root_;
};

}  // namespace ephor::http_api
