// SPDX-License-Identifier: Apache-2.0
//
// OTLP logs: each log record becomes one `ephor.log` event of the source `service.name`. Its trace
// and correlation ids join it to its trace.
#pragma once

#include <cstdint>
#include <string_view>

#include "ingest/made_events.hpp"

namespace ephor::host {

// An ExportLogsServiceRequest. A damaged message ends the reading: what came before is kept, and
// one rejection says where.
void read_otlp_logs(std::string_view body, const MadeContext& context, MadeEventSink& sink);

// The same as OTLP/JSON; `body` must be followed by kRecordSlackBytes readable bytes.
void read_otlp_logs_json(std::string_view body, std::uint32_t depth_max, const MadeContext& context,
                         MadeEventSink& sink);

}  // namespace ephor::host
