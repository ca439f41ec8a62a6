// SPDX-License-Identifier: Apache-2.0
//
// GET /api/metrics/system-health: the host's own snapshot and figures, put together with what the
// kernel says of the process.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <map>
#include <string>
#include <string_view>

#include "process_facts.hpp"

namespace ephor::metrics {

// The samples of a Prometheus text (0.0.4): value by name and by the label `instance`, "" if none.
class HostFigures {
 public:
  explicit HostFigures(std::string_view prometheus_text);
  Json value(const std::string& name, const std::string& instance = {}) const;  // null: not there

 private:
  std::map<std::pair<std::string, std::string>, double> values_;
};

// `snapshot`: ephor.health/1's. `now_ns`: the wall clock, for how far the log is behind.
Json system_health_json(const Json& snapshot, const HostFigures& figures, ProcessFacts& process,
                        std::int64_t now_ns);

}  // namespace ephor::metrics
