// SPDX-License-Identifier: Apache-2.0
//
// Figures as the JSON of answers. `request`: the query's object, whose parameters are texts; a
// wrong one throws ephor::Error with its pointer. No data is null.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>

#include "correlation_record.hpp"
#include "error_groups.hpp"
#include "red_table.hpp"
#include "regression_monitor.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

Json performance_json(const RedTable& red, std::uint64_t late_spans, const Json& request);
Json errors_json(const ErrorGroups& errors, std::uint64_t span_count, const Json& request);
Json traces_json(const TraceStore& traces, double trace_sampling_rate, const Json& request);
Json findings_json(const RegressionMonitor& regressions, const Json& request);
Json row_json(const CorrelationRow& row);

}  // namespace ephor::tracer
