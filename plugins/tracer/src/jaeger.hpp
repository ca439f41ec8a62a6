// SPDX-License-Identifier: Apache-2.0
//
// Traces as Jaeger's query API gives them (api_v1 of jaeger-query), so that Jaeger UI and Grafana's
// Jaeger data source work unchanged. Times are microseconds; what that would lose stands beside it
// in members of our own, which those readers pass by: startTimeUnixNano and endTimeUnixNano of a
// span and timeUnixNano of a log (texts), and the attributes of links.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "search.hpp"
#include "story.hpp"

namespace ephor::tracer {

// {"data": data, "total", "limit", "offset", "errors"}
Json jaeger_answer(Json data, std::size_t total = 0);

// One element of /api/traces. `events`: what carries the trace's id; spans are used, repeated ones
// once.
Json jaeger_trace(const std::string& trace_id, const std::vector<StoryEvent>& events);

// The trace id in a request: 32 hex digits, or fewer with the leading zeros left out.
std::optional<TraceId> jaeger_trace_id(std::string_view text);

// The service of a span's event.
std::string service_of(const StoryEvent& event);

// What /api/traces asks of one span: all of it of the same span.
struct JaegerFilter {
  std::string service;
  std::string operation;                                  // empty: any
  std::vector<std::pair<std::string, std::string>> tags;  // all of them
  std::optional<double> duration_min_ns;
  std::optional<double> duration_max_ns;

  // Throws ephor::Error for parameters that are no such thing.
  static JaegerFilter of(const Json& request);
  bool matches(const StoryEvent& span) const;
};

}  // namespace ephor::tracer
