// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "alerter_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

TEST_CASE("alerter: a finding opens, grows worse and is resolved", "[unit][alerter]") {
  AlerterHost alerter;
  alerter.find(finding("f1"), 0);
  alerter.find(finding("f1"), 60);
  alerter.find(finding("f1", "open", "critical"), 120);
  Json alert = alerter.get("/api/alerts/f1");
  CHECK(alert["state"] == "open");
  CHECK(alert["severity"] == "critical");
  CHECK(alert["kind"] == "error_burst");
  CHECK(alert["target"] == "a/b");
  CHECK(alert["target_kind"] == "operation");
  CHECK(alert["source"] == "tracer");
  CHECK(alert["group"] == "error_burst/operation");
  CHECK(alert["summary"] == "errors of a/b rose");
  CHECK(alert["evidence"] == Json{{"errors", 12}});
  CHECK(alert["onset"] == "2020-09-13T12:00:00Z");
  CHECK(alert["opened_at"] == "2020-09-13T12:26:40Z");
  CHECK(alert["updated_at"] == "2020-09-13T12:28:40Z");
  CHECK(alert["resolved_at"].is_null());
  CHECK(alert["count"] == 3);
  const std::string id = alert["alert_id"];
  CHECK(id.size() == 16);
  for (const std::string& one : {std::string("a/b"), std::string("f1"), id}) {
    const Json about =
        Json::parse(alerter.host.ask("alerter.describe", Json{{"ids", {one}}}.dump()));
    CHECK(about["alerts"].size() == 1);
  }
  CHECK(alerter.host.ask("alerter.describe", R"({"ids": ["12", "a", ""]})") == "{}");
  alerter.find(finding("f1", "closed"), 300);
  alert = alerter.get("/api/alerts/" + id);
  CHECK(alert["state"] == "resolved");
  CHECK(alert["resolved_at"] == "2020-09-13T12:31:40Z");
  CHECK(alert["transitions"].size() == 3);

  const auto published = alerter.alerts_published();
  REQUIRE(published.size() == 3);
  CHECK(published[0]["change"] == "opened");
  CHECK(published[0]["transition"] == 1);
  CHECK(published[0]["alert_id"] == id);
  CHECK(published[1]["change"] == "severity");
  CHECK(published[1]["severity"] == "critical");
  CHECK(published[2]["change"] == "resolved");
  CHECK(published[2]["state"] == "resolved");
  const auto lines = alerter.host.log_lines();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].level == EPHOR_LOG_WARNING);
  CHECK(lines[1].level == EPHOR_LOG_ERROR);
  CHECK(lines[2].level == EPHOR_LOG_INFO);
  CHECK(lines[0].message.find("errors of a/b rose") != std::string::npos);

  const Json summary = alerter.summary();
  CHECK(summary["alerts_total"] == 1);
  CHECK(summary["alerts_open"] == 0);
  CHECK(summary["findings"] == Json::array());
}

TEST_CASE("alerter: without an id, kind and target make the alert, and each episode is another",
          "[unit][alerter]") {
  AlerterHost alerter;
  Json data = finding("");
  data.erase("finding_id");
  alerter.find(data, 0);
  alerter.find(data, 10);
  alerter.find(data, 20, "someone");  // another source
  CHECK(alerter.summary()["alerts_open"] == 2);
  data["state"] = "closed";
  alerter.find(data, 30);
  data["state"] = "open";
  alerter.find(data, 40);
  const Json all = alerter.get("/api/alerts");
  CHECK(all["total"] == 3);
  CHECK(all["by_state"] == Json{{"open", 2}, {"acknowledged", 0}, {"resolved", 1}});
  CHECK(alerter.summary()["alerts_total"] == 3);
}

TEST_CASE("alerter: what is no finding is counted and harms nothing", "[unit][alerter]") {
  AlerterHost alerter;
  alerter.host.deliver(event_line("ephor.finding", Json::array({1}), kEpoch, "x") +
                       event_line("ephor.finding", Json::object(), kEpoch, "x") +
                       event_line("ephor.drift", finding("good"), kEpoch, "ephor/ml_monitor"));
  CHECK(alerter.summary()["alerts_unreadable"] == 2);
  CHECK(alerter.summary()["alerts_open"] == 1);
  alerter.find(finding("never-opened", "closed"), 5);
  CHECK(alerter.summary()["alerts_total"] == 1);
}

TEST_CASE("alerter: lists by state, severity, kind, target and time, in pages", "[unit][alerter]") {
  AlerterHost alerter;
  for (int i = 0; i < 6; ++i) {
    Json data = finding("f" + std::to_string(i), "open", i % 2 == 0 ? "critical" : "info");
    data["target"] = "t" + std::to_string(i % 3);
    alerter.find(data, i * 60);
  }
  alerter.find(finding("f0", "closed"), 1000);
  CHECK(alerter.get("/api/alerts?state=open")["total"] == 5);
  CHECK(alerter.get("/api/alerts?state=resolved")["total"] == 1);
  CHECK(alerter.get("/api/alerts?severity=info")["total"] == 3);
  CHECK(alerter.get("/api/alerts?target=t1&state=all")["total"] == 2);
  CHECK(alerter.get("/api/alerts?kind=other")["total"] == 0);
  CHECK(alerter.get("/api/alerts?from=2020-09-13T12:27:40Z&to=2020-09-13T12:29:40Z")["total"] == 2);
  const Json page = alerter.get("/api/alerts?limit=2&offset=1");
  REQUIRE(page["alerts"].size() == 2);
  CHECK(page["alerts"][0]["finding_id"] == "f4");
  CHECK(page["groups"][0] == Json{{"group", "error_burst/operation"},
                                  {"count", 6},
                                  {"unresolved", 5},
                                  {"severity_max", "critical"}});
  CHECK(alerter.get("/api/alerts?offset=5")["alerts"][0]["finding_id"] == "f0");  // resolved: last
  CHECK_THROWS(alerter.get("/api/alerts?state=lost"));
  CHECK_THROWS(alerter.get("/api/alerts?from=x"));
  CHECK_THROWS(alerter.get("/api/alerts/nobody"));
}

TEST_CASE("alerter: failed plugins are alerts, retraining is a notice", "[unit][alerter]") {
  AlerterHost alerter;
  const auto tell = [&](const char* state, std::int64_t at) {
    alerter.host.deliver(
        event_line("ephor.plugin", {{"instance", "x"}, {"state", state}, {"reason", "it threw"}},
                   kEpoch + at * kSecond, "ephor"),
        EPHOR_EVENT_HOST);
  };
  tell("running", 0);
  CHECK(alerter.summary()["alerts_total"] == 0);
  tell("failed", 1);
  const Json open = alerter.get("/api/alerts?state=open")["alerts"][0];
  CHECK(open["kind"] == "plugin_failed");
  CHECK(open["target"] == "x");
  CHECK(open["severity"] == "critical");
  CHECK(open["summary"] == "plugin x is failed: it threw");
  tell("running", 2);
  CHECK(alerter.summary()["alerts_open"] == 0);
  alerter.host.deliver(event_line("ephor.retrain",
                                  {{"retrain_id", "r1"},
                                   {"model_id", "gboost"},
                                   {"status", "requested"},
                                   {"reason", "it fell behind its peers"}},
                                  kEpoch, "ephor/ml_monitor"));
  const Json notice = alerter.get("/api/alerts/r1");
  CHECK(notice["kind"] == "retrain");
  CHECK(notice["target"] == "gboost");
  CHECK(notice["severity"] == "info");
  CHECK(notice["state"] == "resolved");
  CHECK(notice["summary"] == "it fell behind its peers");
  CHECK(alerter.alerts_published().back()["change"] == "notice");
}

TEST_CASE("alerter: topics say what is a finding", "[unit][alerter]") {
  AlerterHost alerter(R"({"topics": ["acme.>"]})");
  alerter.host.deliver(
      event_line("ephor.finding", finding("a"), kEpoch, "x") +
      event_line("acme.trouble.big", {{"target", "t"}, {"message", "help"}}, kEpoch, "x"));
  const Json all = alerter.get("/api/alerts");
  CHECK(all["total"] == 1);
  CHECK(all["alerts"][0]["kind"] == "big");
  CHECK(all["alerts"][0]["summary"] == "help");
}

TEST_CASE("alerter: max_alerts bounds alerts and rows", "[unit][alerter]") {
  for (const int bound : {2, 5}) {
    AlerterHost alerter(R"({"max_alerts": )" + std::to_string(bound) + "}");
    for (int i = 0; i < 8; ++i) {
      alerter.find(finding("f" + std::to_string(i)), i);
      if (i % 3 == 0) alerter.host.save();
    }
    CHECK(alerter.summary()["alerts_forgotten"] == 8 - bound);
    alerter.host.save();
    CHECK(alerter.host.rows("alerts").size() == static_cast<std::size_t>(bound));
  }
}

TEST_CASE("alerter: rules on metrics open and resolve alerts", "[unit][alerter]") {
  AlerterHost alerter(R"({"rules": [{"name": "lag", "labels": {"symbol": "X"}, "above": 5,
    "for_s": 20, "severity": "critical", "summary": "slow exchange"}]})");
  const auto metric = [&](double value, int at_s, const char* symbol) {
    alerter.host.deliver(event_line(
        "ephor.metric", {{"name", "lag"}, {"value", value}, {"unit", "s"}, {"symbol", symbol}},
        kEpoch + at_s * kSecond, "bot"));
  };
  metric(9, 0, "Y");
  metric(6, 0, "X");
  metric(7, 10, "X");
  CHECK(alerter.summary()["alerts_open"] == 0);
  metric(8, 20, "X");
  const Json alert = alerter.get("/api/alerts?state=open")["alerts"][0];
  CHECK(alert["kind"] == "threshold");
  CHECK(alert["target"] == "lag{symbol=X}");
  CHECK(alert["source"] == "alerter");
  CHECK(alert["onset"] == "2020-09-13T12:26:40Z");
  CHECK(alert["severity"] == "critical");
  CHECK(alert["evidence"]["worst"] == 8.0);
  CHECK(alert["summary"] ==
        "slow exchange: lag{symbol=X} is above 5 s since 2020-09-13T12:26:40Z, worst 8 s");
  metric(4.9, 30, "X");  // not behind the margin of 5 %
  metric(4, 40, "X");
  metric(4, 50, "X");
  CHECK(alerter.summary()["alerts_open"] == 1);
  metric(4, 60, "X");
  CHECK(alerter.summary()["alerts_open"] == 0);
  CHECK(alerter.get("/api/alerts")["alerts"][0]["summary"] ==
        "slow exchange: lag{symbol=X} was above 5 s from 2020-09-13T12:26:40Z to "
        "2020-09-13T12:27:20Z, worst 8 s");
}

TEST_CASE("alerter: slices and crashes change nothing", "[unit][alerter]") {
  std::vector<std::string> lines;
  for (int i = 0; i < 60; ++i) {
    const std::string id = "f" + std::to_string(i % 9);
    lines.push_back(
        event_line(i % 2 == 0 ? "ephor.drift" : "ephor.finding",
                   finding(id, i % 5 == 4 ? "closed" : "open", i % 7 == 0 ? "critical" : "warning"),
                   kEpoch + i * kSecond, "ephor/p" + std::to_string(i % 2)));
    lines.push_back(event_line("ephor.metric", {{"name", "m"}, {"value", i % 11}},
                               kEpoch + i * kSecond, "bot"));
  }
  const auto run = [&](std::size_t slice, bool crashes) {
    AlerterHost alerter(R"({"max_alerts": 6, "rules": [{"name": "m", "above": 7, "for_s": 1}]})");
    alerter.host.set_slice_size(slice);
    for (std::size_t i = 0; i < lines.size(); i += 20) {
      std::string part;
      for (std::size_t k = i; k < std::min(i + 20, lines.size()); ++k) part += lines[k];
      alerter.host.deliver(part);
      if (crashes && i % 40 == 0) alerter.host.save();
      if (crashes && i % 40 == 20) CHECK(alerter.host.crash());
    }
    alerter.host.save();
    std::string out =
        alerter.host.ask("alerter.summary") + alerter.host.request("GET", "/api/alerts?limit=1000");
    for (const StoredRow& row : alerter.host.rows("alerts")) {
      for (const auto& [column, cell] : row) out += column + "=" + cell.bytes + " ";
    }
    for (const Json& one : alerter.alerts_published()) out += one.dump();
    return out;
  };
  const std::string expected = run(256, false);
  CHECK(run(1, false) == expected);
  CHECK(run(7, true) == expected);
}
