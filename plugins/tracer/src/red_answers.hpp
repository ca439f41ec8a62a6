// SPDX-License-Identifier: Apache-2.0
//
// Figures of operations, and groups of errors, as the JSON of answers. `request`: the query's
// object, whose parameters are texts; a wrong one throws ephor::Error with its pointer. No data is
// null.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error_groups.hpp"
#include "red_table.hpp"

namespace ephor::tracer {

std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name);
double number_parameter(const Json& request, std::string_view name, double fallback, double least,
                        double most);
// from, to, component, operation, window.
RedFilter red_filter(const Json& request);

// Figures of a cell. `period_ns`: what rates are over; 0: no rate is told.
Json red_json(const RedCell& cell, std::int64_t period_ns = 0);
// [{from_ms, to_ms, trace_ids}], fastest first.
Json exemplars_json(const RedCell& cell);
// Trace ids of the slowest exemplars, at most `most`.
Json slowest_traces_json(const RedCell& cell, std::size_t most = 3);
// {from, to, resolution_s}
Json over_json(const RedAnswer& found);
std::int64_t period_ns_of(const RedAnswer& found);

Json performance_json(const RedTable& red, std::uint64_t late_spans, const Json& request);
// `now_ns`: the latest event time.
Json errors_json(const ErrorGroups& errors, const RedTable& red, std::int64_t now_ns,
                 const Json& request);

}  // namespace ephor::tracer
