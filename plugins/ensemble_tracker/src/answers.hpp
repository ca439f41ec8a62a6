// SPDX-License-Identifier: Apache-2.0
//
// The tracker's figures as JSON. "No data" is null, and a null that is a choice has a reason beside
// it.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <optional>
#include <string_view>

#include "tracker.hpp"

namespace ephor::ensemble_tracker {

// Half-open, in nanoseconds. Figures over a range are those of the whole hours it touches.
struct Range {
  std::optional<std::int64_t> from_ns;
  std::optional<std::int64_t> to_ns;

  bool is_all() const { return !from_ns && !to_ns; }
  bool has_hour(std::int64_t hour) const;
  bool has(std::int64_t time_ns) const {
    return (!from_ns || time_ns >= *from_ns) && (!to_ns || time_ns < *to_ns);
  }
};
// "from" and "to": RFC 3339 or nanoseconds. Throws Error with the member's pointer.
Range range_of(const Json& request);

Json ensembles_json(const Tracker& tracker, const Range& range, std::size_t limit,
                    std::size_t offset);
// One ensemble with its matrices and histories; null if there is none of that name.
Json ensemble_json(const Tracker& tracker, std::string_view ensemble_id, const Range& range);
Json regimes_json(const Tracker& tracker, const Range& range, std::size_t limit, std::size_t offset,
                  const std::string& symbol);
Json decision_brief(const Tracker& tracker, const Decision& decision);
// The whole decision: what each model said and weighed, what the vote would be without it, the
// path, the regime, what came of it.
Json decision_detail(const Tracker& tracker, const Decision& decision);
Json summary_json(const Tracker& tracker, std::uint64_t unreadable);

}  // namespace ephor::ensemble_tracker
