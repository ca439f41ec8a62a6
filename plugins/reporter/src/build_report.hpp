// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model.hpp"
#include "sources.hpp"
#include "time_zone.hpp"

namespace ephor::reporter {

// The kinds there are: performance, models, executive.
std::span<const std::string_view> report_types();
bool is_report_type(std::string_view type);

struct ReportHead {
  std::string report_id;
  std::string report_type;
  std::string schedule_type;
  std::int64_t generated_at_ns = 0;
  Window window;
  bool is_late = false;
};

// Puts the sections of the kind together. The same inputs give the same report.
Report build_report(const ReportHead& head, const Sources& sources, const TimeZone& zone);

}  // namespace ephor::reporter
