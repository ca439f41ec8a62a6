// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "metrics_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "system_health.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

TEST_CASE("dashboard: figures of every plugin that answers, null and why for the others",
          "[unit][metrics]") {
  MetricsHost metrics;
  metrics.host.set_health_snapshot(
      R"({"ready":true,"live":true,"instances":[],"log_time":"2020-01-01T00:00:00Z",
          "newest_time":"2020-01-01T00:10:00Z","last_sequence":77,"mode":"live"})");
  metrics.host.answer_query("tracer.summary", [](std::string_view) {
    return std::string(R"({"spans":5,"findings":[
      {"finding_id":"f1","state":"closed"},{"finding_id":"f2","state":"open"}]})");
  });
  metrics.host.answer_query("trade_tracker.summary", [](std::string_view) {
    return std::string(R"({"trades":3,"findings":[{"finding_id":"f3","state":"open"}]})");
  });
  metrics.host.answer_query("ml_monitor.summary", [](std::string_view) -> std::string {
    throw ephor::Error(EPHOR_INTERNAL, "it is ill");
  });
  metrics.host.deliver(gauge_line("m", 4, 0) + gauge_line("k", 1, 0));
  const Json answer = metrics.get("/api/metrics/dashboard?limit=1");
  CHECK(answer["plugins"]["tracer"] == Json{{"spans", 5}});
  CHECK(answer["plugins"]["trade_tracker"] == Json{{"trades", 3}});
  CHECK(answer["plugins"]["ml_monitor"].is_null());
  CHECK(answer["plugins"]["alerter"].is_null());
  CHECK(answer["unavailable"]["ml_monitor"] == "it is ill");
  CHECK(answer["unavailable"].contains("alerter"));
  REQUIRE(answer["findings"].size() == 2);
  CHECK(answer["findings"][0]["finding_id"] == "f2");
  CHECK(answer["findings_open"] == 2);
  CHECK(answer["metrics"].size() == 1);
  CHECK(answer["metrics"][0]["name"] == "k");  // by name
  CHECK(answer["metrics_total"] == 2);
  CHECK(answer["as_of"]["last_sequence"] == 77);
  CHECK(answer["as_of"]["newest_time"] == "2020-01-01T00:10:00Z");
}

TEST_CASE("performance: the parts are the other plugins' own answers", "[unit][metrics]") {
  MetricsHost metrics;
  std::string asked;
  metrics.host.answer_query("trade_tracker.performance", [&](std::string_view request) {
    asked = request;
    return std::string(R"({"pnl":1.5,"by_symbol":{"X":{"trades":2}}})");
  });
  metrics.host.answer_query("ml_monitor.models", [](std::string_view) {
    return std::string(
        R"({"total":1,"models":[{"model_id":"a","accuracy":0.5,"confusion":{"x":1}}]})");
  });
  const Json answer =
      metrics.get("/api/metrics/performance?from=2020-01-01T00:00:00Z&to=1577923200000000000");
  CHECK(answer["trading"] == Json{{"pnl", 1.5}, {"by_symbol", {{"X", {{"trades", 2}}}}}});
  CHECK(Json::parse(asked) ==
        Json{{"from", "2020-01-01T00:00:00Z"}, {"to", "2020-01-02T00:00:00Z"}});
  CHECK(answer["latency"].is_null());
  CHECK(answer["unavailable"].contains("latency"));
  CHECK(answer["models"][0] == Json{{"model_id", "a"}, {"accuracy", 0.5}});
  CHECK_THROWS(metrics.get("/api/metrics/performance?from=soon"));
  (void)metrics.get("/api/metrics/performance");
  CHECK(asked == "{}");
}

TEST_CASE("system health: what the host and the kernel say", "[unit][metrics]") {
  const TemporaryDirectory directory;
  {
    std::ofstream(directory.path() / "journal.db") << std::string(1000, 'x');
    std::filesystem::create_directory(directory.path() / "reports");
    std::ofstream(directory.path() / "reports" / "a.html") << std::string(200, 'x');
    std::ofstream(directory.path() / "reports" / "b.html") << std::string(30, 'x');
  }
  MetricsHost metrics;
  metrics.host.set_health_snapshot(
      Json{{"ready", false},
           {"live", true},
           {"mode", "live"},
           {"data_dir", directory.path().string()},
           {"newest_time", "2020-01-01T00:10:00Z"},
           {"last_sequence", 131072},
           {"instances",
            {{{"instance", "metrics"}, {"state", "running"}, {"health", "ok"}, {"lag_events", 7}},
             {{"instance", "x"}, {"state", "running"}, {"health", "degraded"}}}}}
          .dump());
  const Json answer = metrics.get("/api/metrics/system-health");
  CHECK(answer["status"] == "degraded");
  CHECK(answer["ready"] == false);
  CHECK(answer["process"]["pid"] == ::getpid());
  CHECK(answer["process"]["rss_bytes"].get<std::uint64_t>() > 1'000'000);
  CHECK(answer["process"]["peak_rss_bytes"] >= answer["process"]["rss_bytes"]);
  CHECK(answer["process"]["threads"].get<int>() >= 1);
  CHECK(answer["process"]["open_descriptors"].get<int>() >= 3);
  CHECK(answer["process"]["uptime_s"].get<double>() >= 0.0);
  CHECK(answer["process"]["cpu_share"].get<double>() >= 0.0);
  CHECK(answer["machine"]["load_1m"].is_number());
  CHECK(answer["disk"]["data_dir_bytes"] == 1230);
  CHECK(answer["disk"]["data_dir_parts"] == Json{{"journal.db", 1000}, {"reports", 230}});
  CHECK(answer["disk"]["free_bytes"].get<std::uint64_t>() > 0);
  CHECK(answer["log"]["last_sequence"] == 131072);
  CHECK(answer["log"]["log_time"].is_null());
  CHECK(answer["log"]["newest_age_s"].get<double>() > 0.0);
  CHECK(answer["bus"]["instances"][0]["lag_events"] == 7);
  CHECK(answer["instances"][1]["health"] == "degraded");
}

TEST_CASE("host figures: samples by name and instance", "[unit][metrics]") {
  const ephor::metrics::HostFigures figures(
      "# HELP a b\n# TYPE a counter\na 1.5\n"
      "lag{instance=\"x \\\"y\\\\\",topic=\"t\"} 3\nlag{topic=\"t} 4\",instance=\"z\"} 5\nnan "
      "NaN\n");
  CHECK(figures.value("a") == 1.5);
  CHECK(figures.value("lag", "x \"y\\") == 3);
  CHECK(figures.value("lag", "z") == 5);
  CHECK(figures.value("lag").is_null());
  CHECK(figures.value("nan").is_null());
}
