// SPDX-License-Identifier: Apache-2.0
//
// The questions that TraceAnalysis answers, as queries and routes.
#pragma once

#include <ephor/events.hpp>
#include <ephor/plugin.hpp>

#include "red_table.hpp"
#include "regression_monitor.hpp"
#include "trace_analysis.hpp"

namespace ephor::tracer {

// What the routes look at; it outlives the instance's queries.
struct AnalysisView {
  const Host& host;
  const TraceAnalysis& analysis;
  const RedTable& operations;
  const RegressionMonitor& regressions;
  EventReader& reader;
};

// [control] services, graph, critical-path, active, compare, pnl-by-latency and
// performance-correlation under /api/tracing.
void provide_analysis(AnalysisView view);

}  // namespace ephor::tracer
