// SPDX-License-Identifier: Apache-2.0
//
// What the plugin says of its alerts. All throw ephor::Error on a bad request.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <string>

#include "alert_book.hpp"
#include "silences.hpp"

namespace ephor::alerter {

// GET /api/alerts: state (open: what is not resolved; acknowledged, resolved, all), severity, kind,
// target, source, from and to (of opened_at), limit, offset. Unresolved first, then latest news.
Json alerts_json(const AlertBook& book, const Silences& silences, std::int64_t now_ns,
                 const Json& request);

// One alert with the silences that hold it now.
Json alert_answer(const Alert& alert, const Silences& silences, std::int64_t now_ns);

// GET /api/alerts/silences: active=true, limit, offset.
Json silences_json(const Silences& silences, std::int64_t now_ns, const Json& request);

// {"ids": [...]}: alerts that name one of them as their target, their finding or in their evidence,
// as text; at most 100. "{}" if there are none.
std::string describe_json(const AlertBook& book, const Json& request);

Json summary_json(const AlertBook& book);

// The body of a webhook: Alertmanager's (version 4) fields, and the alert itself under "ephor".
// `event`: the data of an ephor.alert.
Json webhook_body(const Json& event, const std::string& webhook, const std::string& key);

// RFC 3339 or nanoseconds since the epoch.
std::optional<std::int64_t> time_parameter(const Json& request, std::string_view name);

}  // namespace ephor::alerter
