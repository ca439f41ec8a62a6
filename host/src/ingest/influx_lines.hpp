// SPDX-License-Identifier: Apache-2.0
//
// InfluxDB's line protocol: measurement[,tag=value...] field=value[,field=value...] [time].
//
// Each field that is a number or a boolean becomes a sample of the metric `measurement_field`
// (`measurement` alone for a field named `value`), the tags its labels. Texts are kept in the event
// beside the samples and are no samples. A bad line is rejected alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "ingest/made_events.hpp"

namespace ephor::host {

inline constexpr std::size_t kInfluxLineBytesMax = 64 * 1024;
inline constexpr std::uint32_t kInfluxFieldsMax = 1024;  // of a line

// Reads a body whole. `unit_ns`: of the times in it. Views into `body` are not kept.
void read_influx_lines(std::string_view body, std::int64_t unit_ns, const MadeContext& context,
                       MadeEventSink& sink);

}  // namespace ephor::host
