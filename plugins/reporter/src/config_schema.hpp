// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace ephor::reporter {

inline constexpr std::string_view kConfigSchema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "enabled": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.report_scheduler.enable_automated_reports",
      "description": "false: nothing is made by the schedule; reports that are asked for still are"},
    "schedule": {"type": "string", "enum": ["hourly", "daily", "weekly", "monthly"], "default": "daily",
      "x-ephor-from": "monitoring.report_scheduler.default_schedule",
      "description": "how often a report is made; one per period of the local calendar"},
    "formats": {"type": "array", "default": ["html", "json"], "minItems": 1,
      "items": {"type": "string", "enum": ["html", "json", "pdf"]},
      "x-ephor-from": "monitoring.report_scheduler.report_formats",
      "description": "files of a report; pdf is recorded as skipped until there is a renderer for it"},
    "email_distribution": {"type": "boolean", "default": true,
      "x-ephor-from": "monitoring.report_scheduler.email_distribution",
      "description": "false: no report is mailed, whoever its recipients are"},
    "report_type": {"type": "string", "enum": ["performance", "models", "executive"],
      "default": "performance", "description": "what the schedule makes"},
    "recipients": {"type": "array", "default": [], "items": {"type": "string"},
      "description": "mail addresses of the schedule's reports"},
    "timezone": {"type": "string", "default": "UTC",
      "description": "of the schedule and of times in reports: UTC, +hh:mm or a name such as Europe/Paris"},
    "at": {"type": "string", "default": "00:05",
      "description": "local time of day hh:mm from which a report is made; hourly: its minutes"},
    "weekday": {"type": "integer", "minimum": 0, "maximum": 6, "default": 0,
      "description": "day of a weekly report, 0 is Monday; it is over the seven days before"},
    "day_of_month": {"type": "integer", "minimum": 1, "maximum": 31, "default": 1,
      "description": "day of a monthly report, the last one where a month has no such day"},
    "max_lateness_s": {"type": "integer", "minimum": 1, "maximum": 31536000, "default": 3600,
      "description": "a schedule acts only while log time is so close to the clock: posted recordings and back-filled time make no reports"},
    "catch_up": {"type": "string", "enum": ["none", "last", "all"], "default": "last",
      "description": "which periods are made up for that fell due while Ephor was not running"},
    "max_catch_up": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 31,
      "description": "most periods that catch_up all makes up for, the latest ones"},
    "max_reports": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 500,
      "description": "reports kept; the files of older ones are deleted, their rows stay"},
    "max_recipients": {"type": "integer", "minimum": 0, "maximum": 10000, "default": 100,
      "description": "most recipients of one report"},
    "smtp": {"type": "object", "additionalProperties": false, "default": {}, "description": "the mail server; without host nothing is mailed", "properties": {
      "host": {"type": "string", "default": "", "description": "mail server; empty: nothing is mailed"},
      "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 587,
        "description": "its port"},
      "security": {"type": "string", "enum": ["none", "starttls"], "default": "starttls",
        "description": "starttls: nothing is sent before TLS is up and the certificate verified"},
      "user": {"type": "string", "default": "", "description": "empty: no login"},
      "password": {"type": "string", "default": "",
        "description": "take it from ${ENV} or a file; only sent over TLS or to this machine"},
      "from": {"type": "string", "default": "ephor@localhost", "description": "sender's address"},
      "timeout_s": {"type": "integer", "minimum": 1, "maximum": 300, "default": 30,
        "description": "of each step of the conversation"},
      "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 30,
        "description": "tries of one mail, 60 s to 1 h apart, before it is given up"},
      "retry_s": {"type": "integer", "minimum": 1, "maximum": 3600, "default": 60,
        "description": "pause before the second try; doubled up to 1 h"}}}
  }})";

}  // namespace ephor::reporter
