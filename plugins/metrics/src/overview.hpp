// SPDX-License-Identifier: Apache-2.0
//
// Answers put together from those of other plugins. A plugin that is not there, or does not answer,
// gives null and a reason; never a figure of our own.
#pragma once

#include <ephor/json.hpp>
#include <functional>
#include <string>

namespace ephor::metrics {

// Asks a query of another plugin; throws ephor::Error.
using Ask = std::function<Json(const std::string& query, const Json& request)>;

// {plugins, findings, findings_open, unavailable}: figures of `<plugin>.summary` by plugin, and
// what is open.
Json headline_json(const Ask& ask, std::size_t findings_max);

// GET /api/metrics/performance: {trading, latency, models, unavailable}. `request` may have from
// and to, handed on as they are. The first two are whole answers, of models the flat figures.
Json performance_json(const Ask& ask, const Json& request);

}  // namespace ephor::metrics
