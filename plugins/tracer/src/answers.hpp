// SPDX-License-Identifier: Apache-2.0
//
// Figures as the JSON of answers. `request`: the query's object, whose parameters are texts; a
// wrong one throws ephor::Error with its pointer. No data is null.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>

#include "correlation_record.hpp"
#include "red_answers.hpp"
#include "regression_monitor.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

Json traces_json(TraceStore& traces, double trace_sampling_rate, const Json& request);
Json findings_json(const RegressionMonitor& regressions, const Json& request);
Json row_json(const CorrelationRow& row);

}  // namespace ephor::tracer
