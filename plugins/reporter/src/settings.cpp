// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <algorithm>
#include <ephor/json.hpp>

#include "build_report.hpp"
#include "mail_message.hpp"

namespace ephor::reporter {

namespace {

std::int64_t time_of_day(const std::string& text) {
  const auto is_digit = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '9'; };
  if (text.size() == 5 && text[2] == ':' && is_digit(0) && is_digit(1) && is_digit(3) &&
      is_digit(4)) {
    const int hours = (text[0] - '0') * 10 + (text[1] - '0');
    const int minutes = (text[3] - '0') * 10 + (text[4] - '0');
    if (hours < 24 && minutes < 60) return hours * 3600 + minutes * 60;
  }
  throw Error(EPHOR_INVALID, "at: found \"" + text + "\", expected a time of day such as 00:05",
              "/at");
}

SmtpSettings smtp_from(const Json& json) {
  SmtpSettings smtp;
  smtp.host = member_or<std::string>(json, "host", "");
  smtp.port = static_cast<std::uint16_t>(member_or<int>(json, "port", 587));
  smtp.has_starttls = member_or<std::string>(json, "security", "starttls") == "starttls";
  smtp.user = member_or<std::string>(json, "user", "");
  smtp.password = member_or<std::string>(json, "password", "");
  smtp.from = member_or<std::string>(json, "from", "ephor@localhost");
  smtp.timeout_s = member_or<int>(json, "timeout_s", 30);
  smtp.max_attempts = member_or<int>(json, "max_attempts", 30);
  smtp.retry_s = member_or<int>(json, "retry_s", 60);
  if (!is_mail_address(smtp.from)) {
    throw Error(EPHOR_INVALID,
                "smtp.from: found \"" + smtp.from + "\", expected an address such as name@host",
                "/smtp/from");
  }
  const bool is_here = smtp.host == "localhost" || smtp.host == "127.0.0.1" || smtp.host == "::1";
  if (!smtp.user.empty() && !smtp.has_starttls && !is_here) {
    throw Error(EPHOR_INVALID,
                "smtp.security: found none with a user, expected starttls: a password does not "
                "leave this machine in the clear",
                "/smtp/security");
  }
  return smtp;
}

}  // namespace

std::vector<std::string> checked_formats(std::vector<std::string> formats,
                                         const std::string& pointer) {
  std::vector<std::string> out;
  for (std::string& format : formats) {
    if (format != "html" && format != "json" && format != "pdf") {
      throw Error(EPHOR_INVALID, "formats: found \"" + format + "\", expected html, json or pdf",
                  pointer);
    }
    if (std::find(out.begin(), out.end(), format) == out.end()) out.push_back(std::move(format));
  }
  if (out.empty())
    throw Error(EPHOR_INVALID, "formats: found none, expected at least one", pointer);
  return out;
}

Settings::Settings(std::string_view config) {
  const Json json = parse_json(config, "reporter configuration");
  enabled = member_or(json, "enabled", true);
  report_type = member_or<std::string>(json, "report_type", "performance");
  if (!is_report_type(report_type))
    throw Error(EPHOR_INVALID, "report_type: found \"" + report_type + "\"", "/report_type");
  formats = checked_formats(member_or<std::vector<std::string>>(json, "formats", {"html", "json"}),
                            "/formats");
  email_distribution = member_or(json, "email_distribution", true);
  recipients = member_or<std::vector<std::string>>(json, "recipients", {});
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    if (is_mail_address(recipients[i])) continue;
    throw Error(
        EPHOR_INVALID,
        "recipients: found \"" + recipients[i] + "\", expected an address such as name@host",
        "/recipients/" + std::to_string(i));
  }
  smtp = smtp_from(member_or<Json>(json, "smtp", Json::object()));
  schedule.cadence = cadence_of(member_or<std::string>(json, "schedule", "daily"));
  schedule.at_s = time_of_day(member_or<std::string>(json, "at", "00:05"));
  schedule.weekday = member_or(json, "weekday", 0);
  schedule.day_of_month = member_or(json, "day_of_month", 1);
  timezone = member_or<std::string>(json, "timezone", "UTC");
  max_lateness_ns = member_or<std::int64_t>(json, "max_lateness_s", 3600) * 1'000'000'000;
  const std::string missed = member_or<std::string>(json, "catch_up", "last");
  catch_up = missed == "none" ? CatchUp::none : missed == "all" ? CatchUp::all : CatchUp::last;
  max_catch_up = member_or<std::int64_t>(json, "max_catch_up", 31);
  max_reports = member_or<std::size_t>(json, "max_reports", 500);
  max_recipients = member_or<std::size_t>(json, "max_recipients", 100);
}

}  // namespace ephor::reporter
