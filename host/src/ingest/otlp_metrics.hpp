// SPDX-License-Identifier: Apache-2.0
//
// OTLP metrics: the data points of a body become few `ephor.metric_batch` events. Labels are the
// point's attributes and those of the resource that say what it is; which process it was
// (process.*, os.*, telemetry.*) stays in the event beside them, for it would make every restart a
// new series.
//
//   gauge                    NAME, a gauge
//   sum                      NAME: cumulative and monotonic a counter, cumulative else a gauge,
//                            delta a delta (what came since the last point)
//   histogram, exponential   NAME, a histogram whose value is the count of observations, with its
//                            buckets; NAME_sum, NAME_min, NAME_max where they are told
//   summary                  NAME with the label `quantile`; NAME_count and NAME_sum, counters
#pragma once

#include <cstdint>
#include <string_view>

#include "ingest/made_events.hpp"

namespace ephor::host {

inline constexpr std::size_t kOtlpBucketsMax = 512;   // of a histogram
inline constexpr std::size_t kOtlpExemplarsMax = 16;  // of a data point; further ones are left out
inline constexpr std::size_t kOtlpAttributesMax = 1024;  // of an item

// An ExportMetricsServiceRequest. A damaged message ends the reading: what came before is kept, and
// one rejection says where.
void read_otlp_metrics(std::string_view body, const MadeContext& context, MadeEventSink& sink);

// The same as OTLP/JSON; `body` must be followed by kRecordSlackBytes readable bytes.
void read_otlp_metrics_json(std::string_view body, std::uint32_t depth_max,
                            const MadeContext& context, MadeEventSink& sink);

}  // namespace ephor::host
