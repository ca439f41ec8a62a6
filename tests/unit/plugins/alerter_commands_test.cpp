// SPDX-License-Identifier: Apache-2.0
//
// Acknowledging and silencing: events that the plugin brings into the log itself.
#include <string>

#include "alerter_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

namespace {

constexpr std::string_view kWebhook =
    R"({"webhooks": [{"url": "http://127.0.0.1:1/", "name": "ops"}]})";

std::string only_id(AlerterHost& alerter) {
  return alerter.get("/api/alerts")["alerts"][0]["alert_id"];
}

}  // namespace

TEST_CASE("alerter: an acknowledgement is an event, and its author reads it back",
          "[unit][alerter]") {
  AlerterHost alerter;
  alerter.find(finding("f"), 0);
  const std::string id = only_id(alerter);
  const Json answer =
      alerter.post("/api/alerts/" + id + "/acknowledge", {{"by", "eve"}, {"note", "looking"}});
  CHECK(answer["alert_id"] == id);
  CHECK(answer["sequence"] == alerter.host.last_sequence());
  REQUIRE(alerter.host.ingested().size() == 1);
  const Json event = Json::parse(alerter.host.ingested()[0].body);
  CHECK(event["source"] == "ephor/alerter");
  CHECK(event["type"] == "ephor.alert_command");
  CHECK(event["time"] == "2020-09-13T12:26:40Z");  // the newest of the log
  alerter.host.pump();
  const Json alert = alerter.get("/api/alerts/" + id);
  CHECK(alert["state"] == "acknowledged");
  CHECK(alert["acknowledged_at"] == "2020-09-13T12:26:40Z");
  CHECK(alert["acknowledged_by"] == "eve");
  CHECK(alert["note"] == "looking");
  CHECK(alerter.get("/api/alerts?state=acknowledged")["total"] == 1);
  CHECK(alerter.get("/api/alerts?state=open")["total"] == 1);  // not resolved
  CHECK(alerter.summary()["alerts_acknowledged"] == 1);
  alerter.find(finding("f", "closed"), 60);
  CHECK(alerter.get("/api/alerts/" + id)["state"] == "resolved");
  CHECK_THROWS(alerter.post("/api/alerts/" + id + "/acknowledge", Json::object()));
  CHECK_THROWS(alerter.post("/api/alerts/nobody/acknowledge", Json::object()));
}

TEST_CASE("alerter: routes that change something need the scope write", "[unit][alerter]") {
  AlerterHost alerter;
  int writing = 0;
  for (const RecordedRoute& route : alerter.host.routes()) {
    CHECK((route.method == "GET") == (route.scope == "read"));
    writing += route.scope == "write" ? 1 : 0;
  }
  CHECK(writing == 3);
}

TEST_CASE("alerter: a silence holds matching alerts in its window, until it is ended",
          "[unit][alerter]") {
  AlerterHost alerter(kWebhook);
  alerter.find(finding("before"), 0);
  const Json made = alerter.post(
      "/api/alerts/silences",
      {{"match", {{"kind", "error_*"}}}, {"for_s", 600}, {"comment", "known"}, {"by", "eve"}});
  CHECK(made["from"] == "2020-09-13T12:26:40Z");
  CHECK(made["until"] == "2020-09-13T12:36:40Z");
  alerter.host.pump();
  const std::string id = made["silence_id"];
  CHECK(alerter.get("/api/alerts/silences?active=true")["silences"][0]["silence_id"] == id);
  // It was still waiting to be sent, and its time lies in the window.
  CHECK(alerter.get("/api/alerts/before")["deliveries"][0]["status"] == "silenced");
  CHECK(alerter.get("/api/alerts/before")["silenced_by"] == id);
  alerter.find(finding("inside"), 100);
  Json other = finding("other");
  other["kind"] = "latency_regression";
  alerter.find(other, 110);
  CHECK(alerter.get("/api/alerts/inside")["deliveries"][0]["status"] == "silenced");
  CHECK(alerter.get("/api/alerts/inside")["state"] == "open");  // told, not sent
  CHECK(alerter.get("/api/alerts/other")["deliveries"][0]["status"] == "pending");
  CHECK(alerter.get("/api/alerts/other")["silenced_by"].is_null());

  alerter.host.request("DELETE", "/api/alerts/silences/" + id);
  alerter.host.pump();
  alerter.find(finding("after"), 200);
  CHECK(alerter.get("/api/alerts/after")["deliveries"][0]["status"] == "pending");
  CHECK(alerter.get("/api/alerts/silences")["silences"][0]["active"] == false);
  CHECK(alerter.get("/api/alerts/silences?active=true")["total"] == 0);
  CHECK_THROWS(alerter.host.request("DELETE", "/api/alerts/silences/nothing"));
}

TEST_CASE("alerter: a silence without an end or a match is refused", "[unit][alerter]") {
  AlerterHost alerter;
  alerter.find(finding("f"), 0);
  const Json match{{"kind", "x"}};
  CHECK_THROWS(alerter.post("/api/alerts/silences", {{"match", match}}));
  CHECK_THROWS(alerter.post("/api/alerts/silences", {{"for_s", 5}}));
  CHECK_THROWS(alerter.post("/api/alerts/silences", {{"match", Json::object()}, {"for_s", 5}}));
  CHECK_THROWS(
      alerter.post("/api/alerts/silences", {{"match", match}, {"until", "2020-09-13T12:00:00Z"}}));
  CHECK_THROWS(alerter.post("/api/alerts/silences", {{"match", match}, {"until", "later"}}));
  CHECK(alerter.host.ingested().empty());
}

TEST_CASE("alerter: commands of others are not taken", "[unit][alerter]") {
  AlerterHost alerter;
  alerter.find(finding("f"), 0);
  alerter.host.deliver(event_line("ephor.alert_command",
                                  {{"action", "acknowledge"}, {"alert_id", only_id(alerter)}},
                                  kEpoch, "stranger"));
  CHECK(alerter.get("/api/alerts/f")["state"] == "open");
}

TEST_CASE("alerter: it does not matter how commands, outcomes and findings interleave",
          "[unit][alerter]") {
  // One live run gives the events; then every finding comes behind all that was brought in.
  AlerterHost live(kWebhook);
  live.find(finding("f"), 0);
  live.find(finding("g", "open", "critical"), 5);
  const std::string id = live.get("/api/alerts/f")["alert_id"];
  live.post("/api/alerts/" + id + "/acknowledge", {{"by", "eve"}});
  live.post("/api/alerts/silences", {{"match", {{"severity", "critical"}}}, {"for_s", 60}});
  live.host.pump();
  const std::string outcome = event_line("ephor.alert_delivery",
                                         {{"outcomes",
                                           {{{"alert_id", id},
                                             {"transition", 1},
                                             {"webhook", "ops"},
                                             {"status", "delivered"},
                                             {"attempts", 2},
                                             {"detail", ""},
                                             {"at", "2020-09-13T12:27:00Z"}}}}},
                                         kEpoch, "ephor/alerter");
  live.host.deliver(outcome);
  live.find(finding("g", "closed"), 9);

  AlerterHost replayed(kWebhook);
  std::string brought_in = outcome;
  for (const Ingested& one : live.host.ingested()) brought_in += one.body + "\n";
  replayed.host.deliver(brought_in);
  replayed.find(finding("f"), 0);
  replayed.find(finding("g", "open", "critical"), 5);
  replayed.find(finding("g", "closed"), 9);

  CHECK(live.get("/api/alerts/f") == replayed.get("/api/alerts/f"));
  CHECK(live.get("/api/alerts/g") == replayed.get("/api/alerts/g"));
  CHECK(live.get("/api/alerts/f")["deliveries"][0]["status"] == "delivered");
  CHECK(live.get("/api/alerts/f")["state"] == "acknowledged");
  CHECK(live.summary() == replayed.summary());
}
