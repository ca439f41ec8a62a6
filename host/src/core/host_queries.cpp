// SPDX-License-Identifier: Apache-2.0
#include "core/host_queries.hpp"

#include <string>

#include <nlohmann/json.hpp>

#include "core/bus_report.hpp"
#include "core/host.hpp"
#include "core/logger.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

// Both tell of the run, not of the log: `ephor export --canonical` leaves them out.
constexpr const char* kBusSchema =
    R"json({"type": "object", "x-run-dependent": true, "properties": {
"interval_s": {"type": "number", "description": "what rates, busy_share and recent_p99 are over"},
"ring": {"type": "object"},
"readers": {"type": "array", "items": {"type": "object"}},
"topics": {"type": "array", "items": {"type": "object"}, "description": "the 500 with most events"},
"topics_known": {"type": "integer"}}})json";

void add(Registry& registry, const std::string& query, const std::string& path,
         const std::string& summary, const std::string& response_schema,
         std::function<std::string(std::string_view)> answer) {
  QueryEntry entry;
  entry.name = query;
  entry.summary = summary;
  entry.answer = std::move(answer);
  registry.add_query(std::move(entry));
  registry.add_route(
      {"GET", path, query, "read", summary, {}, response_schema, {}, std::string(kHostName)});
}

}  // namespace

void add_host_queries(Host& host, BusReport& report) {
  add(host.registry(), "system.bus", "/api/system/bus",
      "The live ring, and what each reader gets of it: lag, loss, delays, load", kBusSchema,
      [&report](std::string_view) {
        return report.json().dump(-1, ' ', false, Json::error_handler_t::replace);
      });
  add(host.registry(), "system.status", "/api/system/status",
      "Instances, their health and their readers, and the log",
      R"({"type":"object","x-run-dependent":true})",
      [&host](std::string_view) { return host.status_json(); });
}

}  // namespace ephor::host
