// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schedule.hpp"
#include "smtp.hpp"

namespace ephor::reporter {

enum class CatchUp { none, last, all };

struct Settings {
  bool enabled = true;
  std::string report_type = "performance";
  std::vector<std::string> formats;
  bool email_distribution = true;
  std::vector<std::string> recipients;
  SmtpSettings smtp;
  Schedule::Options schedule;
  std::string timezone = "UTC";
  std::int64_t max_lateness_ns = 0;
  CatchUp catch_up = CatchUp::last;
  std::int64_t max_catch_up = 31;
  std::size_t max_reports = 500;
  std::size_t max_recipients = 100;

  explicit Settings(std::string_view config);
};

// Checks a list of formats or throws Error(EPHOR_INVALID) with `pointer`.
std::vector<std::string> checked_formats(std::vector<std::string> formats,
                                         const std::string& pointer);

}  // namespace ephor::reporter
