// SPDX-License-Identifier: Apache-2.0
//
// What the plugin says of its series. All throw ephor::Error on a bad request.
#pragma once

#include <cstddef>
#include <ephor/json.hpp>

#include "series_table.hpp"

namespace ephor::metrics {

// Latest value, figures over everything, trend and changes of one series.
Json series_json(const MetricSeries& series, std::size_t trend_points);

// GET /api/metrics/series: limit, offset, name.
Json series_list_json(const SeriesTable& table, const Json& request, std::size_t trend_points);

// GET /api/metrics/history/{metric_name}: from, to, resolution (raw, 60, 3600, 86400, auto), limit
// and offset (points from the newest back), series_limit, series_offset; what else is asked is a
// label's value (label.NAME where the name is one of these).
Json history_json(const SeriesTable& table, const Json& request, std::size_t trend_points);

// RFC 3339 or nanoseconds since the epoch.
std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name);

}  // namespace ephor::metrics
