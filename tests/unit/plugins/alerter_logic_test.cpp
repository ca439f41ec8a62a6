// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "alert_book.hpp"
#include "answers.hpp"
#include "settings.hpp"
#include "silences.hpp"
#include "support/catch.hpp"
#include "threshold_rules.hpp"

using namespace ephor::alerter;
using Json = nlohmann::json;

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

Finding finding_of(const std::string& id, std::int64_t time_ns, bool is_open = true) {
  Finding out;
  out.finding_id = id;
  out.kind = "k";
  out.target = "t";
  out.source = "s";
  out.is_open = is_open;
  out.time_ns = time_ns;
  return out;
}

// Opened and closed as '+' and '-', '.' for nothing, one sign a point.
std::string run_rule(const RuleSettings& rule, const std::vector<double>& values,
                     std::int64_t step_ns = kSecondNs) {
  ThresholdRules rules({rule}, "alerter", 10);
  std::string out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    MetricSample sample;
    sample.name = rule.name;
    sample.value = values[i];
    sample.time_ns = static_cast<std::int64_t>(i) * step_ns;
    std::vector<Finding> findings;
    rules.add(sample, findings);
    out += findings.empty() ? '.' : findings[0].is_open ? '+' : '-';
  }
  return out;
}

RuleSettings rule_of(std::optional<double> above, std::optional<double> below, double margin,
                     double for_s) {
  RuleSettings rule;
  rule.name = "m";
  rule.above = above;
  rule.below = below;
  rule.clear_margin = margin;
  rule.for_ns = static_cast<std::int64_t>(for_s * 1e9);
  return rule;
}

}  // namespace

TEST_CASE("rule: opens at once, clears behind the margin", "[unit][alerter]") {
  CHECK(run_rule(rule_of(10, {}, 2, 0), {9, 11, 12, 9, 11, 8, 9, 11}) == ".+...-.+");
  CHECK(run_rule(rule_of({}, 5, 1, 0), {6, 4, 5.5, 6, 5}) == ".+.-.");
  CHECK(run_rule(rule_of(10, 5, 0, 0), {7, 11, 4, 7, 4, 7}) == ".+.-+-");
}

TEST_CASE("rule: for_s of breach to open and of calm to close", "[unit][alerter]") {
  CHECK(run_rule(rule_of(10, {}, 0, 2), {11, 11, 9, 11, 11, 11, 11}) == ".....+.");
  CHECK(run_rule(rule_of(10, {}, 0, 2), {11, 11, 11, 9, 9, 11, 9, 9, 9, 9}) == "..+.....-.");
}

TEST_CASE("rule: series with other labels are left alone, each has its own alert",
          "[unit][alerter]") {
  RuleSettings rule = rule_of(10, {}, 0, 0);
  rule.labels = {{"symbol", "X"}};
  rule.summary = "too much";
  ThresholdRules rules({rule}, "alerter", 2);
  std::vector<Finding> findings;
  const auto add = [&](const char* symbol, const char* shard, double value, std::int64_t time_ns) {
    MetricSample sample;
    sample.name = "m";
    sample.labels = {{"symbol", symbol}, {"shard", shard}};
    sample.unit = "ms";
    sample.value = value;
    sample.time_ns = time_ns;
    findings.clear();
    rules.add(sample, findings);
    return findings.size();
  };
  CHECK(add("Y", "1", 11, 0) == 0);
  REQUIRE(add("X", "1", 11, 0) == 1);
  CHECK(findings[0].target == "m{shard=1,symbol=X}");
  CHECK(findings[0].finding_id == "alerter:threshold:m{shard=1,symbol=X}:1970-01-01T00:00:00Z");
  CHECK(findings[0].summary ==
        "too much: m{shard=1,symbol=X} is above 10 ms since 1970-01-01T00:00:00Z, worst 11 ms");
  CHECK(add("X", "2", 12, 0) == 1);
  CHECK(add("X", "3", 12, 0) == 0);  // beyond the bound of series
  CHECK(rules.unwatched_points() == 1);
  CHECK(add("X", "1", 3, -5) == 0);  // out of order
  CHECK(add("X", "1", 3, 5) == 1);
}

TEST_CASE("silence: stars match any text", "[unit][alerter]") {
  CHECK(is_like("*", ""));
  CHECK(is_like("a*c", "abbc"));
  CHECK(is_like("a*b*c", "axxbyyc"));
  CHECK(is_like("tactician/*", "tactician/size_position"));
  CHECK_FALSE(is_like("a*c", "abcd"));
  CHECK_FALSE(is_like("", "a"));
  CHECK_FALSE(is_like("a", "ab"));
  CHECK_THROWS(match_from(Json::object()));
  CHECK_THROWS(match_from(Json{{"colour", "red"}}));
  CHECK_THROWS(match_from(Json{{"kind", 3}}));
}

TEST_CASE("book: resolved alerts leave first, then the one longest without news",
          "[unit][alerter]") {
  AlertBook book(3);
  for (int i = 0; i < 3; ++i) book.apply(finding_of("f" + std::to_string(i), 10 + i));
  book.apply(finding_of("f2", 20, false));
  CHECK(book.unresolved() == 2);
  book.apply(finding_of("f3", 30));
  CHECK(book.find_by_finding("f2") == nullptr);
  book.apply(finding_of("f0", 40));  // news of the oldest
  book.apply(finding_of("f4", 50));
  CHECK(book.find_by_finding("f1") == nullptr);
  CHECK(book.find_by_finding("f0") != nullptr);
  CHECK(book.alerts().size() == 3);
  CHECK(book.unresolved() == 3);
  CHECK(book.total() == 5);
  CHECK(book.forgotten() == 2);
}

TEST_CASE("book: what is done to an alert that is not known yet waits for it", "[unit][alerter]") {
  AlertBook book(10);
  const std::string id = short_id("f");
  Outcome outcome;
  outcome.alert_id = id;
  outcome.delivery.transition = 1;
  outcome.delivery.webhook = "w";
  outcome.delivery.status = DeliveryStatus::delivered;
  book.settle(outcome);
  book.acknowledge({id, 30, "eve", ""});
  book.acknowledge({id, 20, "adam", "mine"});
  book.apply(finding_of("f", 10));
  const Alert& alert = *book.find(id);
  CHECK(std::string(alert.state()) == "acknowledged");
  CHECK(alert.acknowledged_by == "adam");
  REQUIRE(alert.deliveries.size() == 1);
  CHECK(alert.deliveries[0].status == DeliveryStatus::delivered);
}

TEST_CASE("webhook body: what Alertmanager sends, and the alert itself", "[unit][alerter]") {
  const Json event{{"alert_id", "00ff"},
                   {"kind", "error_burst"},
                   {"target", "a/b"},
                   {"target_kind", "operation"},
                   {"source", "tracer"},
                   {"severity", "critical"},
                   {"state", "open"},
                   {"summary", "s"},
                   {"onset", "2020-01-01T00:00:00Z"},
                   {"opened_at", "2020-01-01T00:05:00Z"},
                   {"resolved_at", nullptr}};
  const Json body = webhook_body(event, "ops", "00ff-1");
  CHECK(body["version"] == "4");
  CHECK(body["status"] == "firing");
  CHECK(body["receiver"] == "ops");
  CHECK(body["idempotency_key"] == "00ff-1");
  CHECK(body["alerts"][0]["labels"]["alertname"] == "error_burst");
  CHECK(body["alerts"][0]["startsAt"] == "2020-01-01T00:00:00Z");
  CHECK(body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z");
  CHECK(body["ephor"] == event);
  Json resolved = event;
  resolved["state"] = "resolved";
  resolved["resolved_at"] = "2020-01-01T01:00:00Z";
  CHECK(webhook_body(resolved, "ops", "00ff-2")["status"] == "resolved");
  CHECK(webhook_body(resolved, "ops", "00ff-2")["alerts"][0]["endsAt"] == "2020-01-01T01:00:00Z");
}

TEST_CASE("settings: a rule needs a bound, a webhook an address and its own name",
          "[unit][alerter]") {
  CHECK_THROWS(Settings(R"({"rules": [{"name": "m"}]})"));
  CHECK_THROWS(Settings(R"({"webhooks": [{"url": "ftp://x"}]})"));
  CHECK_THROWS(Settings(
      R"({"webhooks": [{"url": "http://x", "name": "a"}, {"url": "http://y", "name": "a"}]})"));
  const Settings good(
      R"({"rules": [{"name": "m", "below": -20}], "webhooks": [{"url": "http://x"}]})");
  CHECK(good.rules[0].clear_margin == Approx(1.0));
  CHECK(good.webhooks[0].name == "webhook 1");
}
