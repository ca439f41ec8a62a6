// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace ephor::alerter {

inline constexpr std::string_view kConfigSchema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object", "additionalProperties": false,
  "properties": {
    "topics": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 64,
      "default": ["ephor.drift", "ephor.finding"],
      "description": "topics whose events are findings; patterns with * and > are possible"},
    "rules": {"type": "array", "maxItems": 1000, "default": [],
      "description": "alerts of our own on series of ephor.metric",
      "items": {"type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {
          "name": {"type": "string", "minLength": 1, "description": "the metric's name"},
          "labels": {"type": "object", "default": {}, "additionalProperties": {"type": "string"},
            "description": "only series with these labels; each series has its own alert"},
          "above": {"type": "number", "description": "breached by a value above it"},
          "below": {"type": "number", "description": "breached by a value below it"},
          "clear_margin": {"type": "number", "minimum": 0,
            "description": "how far back inside a value must be to clear it; absent: 5 % of the bound"},
          "for_s": {"type": "number", "minimum": 0, "maximum": 31536000, "default": 0,
            "description": "seconds of event time it must be breached to open, and be clear to resolve"},
          "severity": {"type": "string", "enum": ["info", "warning", "critical"], "default": "warning",
            "description": "of the alert"},
          "summary": {"type": "string", "default": "", "maxLength": 500,
            "description": "what it means; the figures are added"}}}},
    "webhooks": {"type": "array", "maxItems": 32, "default": [],
      "description": "where alerts are posted to, as Alertmanager does",
      "items": {"type": "object", "additionalProperties": false, "required": ["url"],
        "properties": {
          "name": {"type": "string", "minLength": 1, "maxLength": 100,
            "description": "what its deliveries are known by; absent: webhook 1 and so on"},
          "url": {"type": "string", "description": "http:// or https://"},
          "min_severity": {"type": "string", "enum": ["info", "warning", "critical"],
            "default": "warning", "description": "alerts that never reached it are not sent"},
          "headers": {"type": "object", "default": {}, "additionalProperties": {"type": "string"},
            "description": "sent with each request, say Authorization"},
          "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 60, "default": 5,
            "description": "to connect, to send and to get the answer, each"}}}},
    "max_alerts": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 2000,
      "description": "alerts kept; the resolved ones that were longest without news make room"},
    "max_silences": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
      "description": "silences kept; the one that ends first makes room"},
    "max_rule_series": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000,
      "description": "series watched by rules; further ones are counted and not watched"},
    "max_age_s": {"type": "number", "minimum": 1, "maximum": 31536000, "default": 3600,
      "description": "what happened longer ago by the wall clock is not sent any more: backfilled time"},
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 8,
      "description": "tries of one delivery before it is given up"},
    "retry_s": {"type": "number", "minimum": 0.01, "maximum": 3600, "default": 1,
      "description": "pause after the first failure; doubled after each further one"},
    "retry_max_s": {"type": "number", "minimum": 0.01, "maximum": 86400, "default": 300,
      "description": "the longest pause"},
    "settle_s": {"type": "number", "minimum": 0, "maximum": 600, "default": 1,
      "description": "time after the start in which outcomes in the log are read before anything is sent"}
  }})";

}  // namespace ephor::alerter
