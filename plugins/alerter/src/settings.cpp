// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <cmath>
#include <ephor/json.hpp>
#include <set>
#include <utility>

namespace ephor::alerter {
namespace {

std::int64_t seconds_to_ns(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

std::optional<double> number_of(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

WebhookSettings webhook_from(const Json& json, std::size_t number) {
  const std::string pointer = "/webhooks/" + std::to_string(number);
  WebhookSettings out;
  out.name = request_text(json, "name", "webhook " + std::to_string(number + 1));
  out.url = request_text(json, "url");
  if (!out.url.starts_with("http://") && !out.url.starts_with("https://")) {
    throw Error(EPHOR_INVALID, "url: expected http:// or https://", pointer + "/url");
  }
  out.min_severity = severity_from(request_text(json, "min_severity", "warning"));
  out.headers = member_or<std::map<std::string, std::string>>(json, "headers", {});
  out.timeout_s = member_or(json, "timeout_s", 5.0);
  return out;
}

RuleSettings rule_from(const Json& json, std::size_t number) {
  RuleSettings out;
  out.name = request_text(json, "name");
  out.labels = member_or<std::map<std::string, std::string>>(json, "labels", {});
  out.above = number_of(json, "above");
  out.below = number_of(json, "below");
  if (!out.above && !out.below) {
    throw Error(EPHOR_INVALID, "found neither above nor below, expected one",
                "/rules/" + std::to_string(number));
  }
  // A threshold of zero has no scale of its own: no margin then.
  const double scale = std::abs(out.above ? *out.above : *out.below);
  out.clear_margin = number_of(json, "clear_margin").value_or(0.05 * scale);
  out.for_ns = seconds_to_ns(member_or(json, "for_s", 0.0));
  out.severity = severity_from(request_text(json, "severity", "warning"));
  out.summary = request_text(json, "summary");
  return out;
}

}  // namespace

Settings::Settings(std::string_view config) {
  const Json json = parse_json(config, "alerter configuration");
  topics = member_or<std::vector<std::string>>(json, "topics", {"ephor.drift", "ephor.finding"});
  const Json rule_list = member_or<Json>(json, "rules", Json::array());
  for (std::size_t i = 0; i < rule_list.size(); ++i) rules.push_back(rule_from(rule_list[i], i));
  const Json webhook_list = member_or<Json>(json, "webhooks", Json::array());
  std::set<std::string> names;
  for (std::size_t i = 0; i < webhook_list.size(); ++i) {
    webhooks.push_back(webhook_from(webhook_list[i], i));
    if (!names.insert(webhooks.back().name).second) {
      throw Error(EPHOR_INVALID, "name: found \"" + webhooks.back().name + "\" twice",
                  "/webhooks/" + std::to_string(i) + "/name");
    }
  }
  max_alerts = member_or<std::size_t>(json, "max_alerts", 2000);
  max_silences = member_or<std::size_t>(json, "max_silences", 1000);
  max_rule_series = member_or<std::size_t>(json, "max_rule_series", 1000);
  max_age_ns = seconds_to_ns(member_or(json, "max_age_s", 3600.0));
  max_attempts = member_or<std::uint64_t>(json, "max_attempts", 8);
  retry_least_ns = seconds_to_ns(member_or(json, "retry_s", 1.0));
  retry_most_ns = seconds_to_ns(member_or(json, "retry_max_s", 300.0));
  settle_ns = seconds_to_ns(member_or(json, "settle_s", 1.0));
}

}  // namespace ephor::alerter
