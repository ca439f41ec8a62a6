// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "metrics_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

TEST_CASE("metrics: latest value, figures and change of a gauge", "[unit][metrics]") {
  MetricsHost metrics;
  std::string lines;
  for (int minute = 0; minute <= 120; ++minute) {
    lines += metric_line({{"name", "queue.depth"},
                          {"value", 10 + minute},
                          {"unit", "1"},
                          {"labels", {{"symbol", "BTC"}, {"shard", 3}}}},
                         minute * 60);
  }
  metrics.host.deliver(lines);
  const Json series = metrics.get("/api/metrics/series")["series"][0];
  CHECK(series["name"] == "queue.depth");
  CHECK(series["labels"] == Json{{"shard", "3"}, {"symbol", "BTC"}});
  CHECK(series["unit"] == "1");
  CHECK(series["kind"] == "gauge");
  CHECK(series["value"] == 130.0);
  CHECK(series["time"] == "2020-09-13T14:26:40Z");
  CHECK(series["count"] == 121);
  CHECK(series["mean"] == Approx(70.0));
  CHECK(series["min"] == 10.0);
  CHECK(series["max"] == 130.0);
  CHECK(series["trend"]["direction"] == "rising");
  CHECK(series["trend"]["slope_per_hour"] == Approx(60.0));
  CHECK(series["change_1h"]["absolute"] == Approx(60.0));
  CHECK(series["change_1h"]["relative"] == Approx(60.0 / 70.0));
  CHECK(series["change_1h"]["from_time"] == "2020-09-13T13:26:40Z");
  CHECK(series["change_24h"].is_null());
  CHECK(series["rate_1h"].is_null());
}

TEST_CASE("metrics: labels are a set, dimensions belong to them", "[unit][metrics]") {
  MetricsHost metrics;
  metrics.host.deliver(
      R"({"specversion":"1.0","id":"a","source":"s","type":"ephor.metric","time":"2020-01-01T00:00:00Z","data":{"name":"m","value":1,"labels":{"b":"2","a":"1"},"symbol":"X"}})"
      "\n"
      R"({"specversion":"1.0","id":"b","source":"s","type":"ephor.metric","time":"2020-01-01T00:00:01Z","data":{"symbol":"X","labels":{"a":"1","b":2},"name":"m","value":2}})"
      "\n"
      R"({"specversion":"1.0","id":"c","source":"s","type":"ephor.metric","time":"2020-01-01T00:00:02Z","data":{"symbol":"Y","labels":{"symbol":"X","a":"1","b":"2"},"name":"m","value":3}})"
      "\n");
  CHECK(metrics.summary()["metric_series"] == 1);
  CHECK(metrics.get("/api/metrics/series")["series"][0]["count"] == 3);
}

TEST_CASE("metrics: counters have a rate across resets", "[unit][metrics]") {
  MetricsHost metrics;
  std::string lines;
  const double values[] = {100, 160, 30, 90};
  for (int i = 0; i < 4; ++i) {
    lines += metric_line({{"name", "requests"}, {"value", values[i]}, {"kind", "counter"}}, i * 60);
  }
  metrics.host.deliver(lines);
  const Json answer = metrics.get("/api/metrics/history/requests")["series"][0];
  CHECK(answer["rate_1h"]["increase"] == 150.0);  // 60 + 30 + 60
  CHECK(answer["rate_1h"]["per_s"] == Approx(150.0 / 180.0));
  CHECK(answer["rate_1h"]["resets"] == 1);
  CHECK(answer["points"][0]["rate_per_s"].is_null());
  CHECK(answer["points"][1]["rate_per_s"] == Approx(1.0));
  CHECK(answer["points"][2]["rate_per_s"] == Approx(0.5));
  const Json minutes = metrics.get("/api/metrics/history/requests?resolution=60")["series"][0];
  CHECK(minutes["points"][3]["rate_per_s"] == Approx(1.0));
}

TEST_CASE("metrics: histograms answer quantiles, bad buckets are counted", "[unit][metrics]") {
  MetricsHost metrics;
  metrics.host.deliver(
      metric_line({{"name", "latency"},
                   {"value", 12.5},
                   {"kind", "histogram"},
                   {"buckets", {{"0.1", 10}, {"0.5", 30}, {"+Inf", 40}}}},
                  0) +
      metric_line({{"name", "other"},
                   {"value", 1},
                   {"kind", "histogram"},
                   {"buckets", {{{"le", 1.0}, {"count", 4}}, {{"le", "+Inf"}, {"count", 8}}}}},
                  1) +
      metric_line({{"name", "bad"}, {"value", 1}, {"buckets", {{"1", 9}, {"2", 3}}}}, 2));
  const Json latency = metrics.get("/api/metrics/series?name=latency")["series"][0]["histogram"];
  CHECK(latency["count"] == 40.0);
  CHECK(latency["p50"] == Approx(0.3));
  CHECK(latency["p99"] == 0.5);
  CHECK(metrics.get("/api/metrics/series?name=other")["series"][0]["histogram"]["p50"] == 1.0);
  CHECK(metrics.get("/api/metrics/series?name=bad")["series"][0]["histogram"].is_null());
  CHECK(metrics.summary()["metrics_unreadable"] == 1);
}

TEST_CASE("metrics: history by window, resolution, labels and page", "[unit][metrics]") {
  MetricsHost metrics;
  std::string lines;
  for (int i = 0; i < 240; ++i) {
    lines += metric_line({{"name", "p"}, {"value", i}, {"symbol", i % 2 == 0 ? "A" : "B"}}, i * 30);
  }
  metrics.host.deliver(lines);
  CHECK(metrics.get("/api/metrics/history/p")["series_total"] == 2);
  const Json one = metrics.get(
      "/api/metrics/history/p?symbol=A&from=2020-09-13T13:00:00Z&to=2020-09-13T13:10:00Z");
  CHECK(one["series_total"] == 1);
  const Json& series = one["series"][0];
  // 13:00:00 is 2000 s behind the begin; points of A every 60 s: 2040 ... 2580.
  CHECK(series["over"]["points_total"] == 10);
  CHECK(series["over"]["from"] == "2020-09-13T13:00:40Z");
  CHECK(series["over"]["resolution"] == "raw");
  CHECK(series["statistics"]["mean"] == Approx(77.0));
  CHECK(series["statistics"]["p50"] == Approx(77.0));
  CHECK(series["points"][0]["value"] == 68.0);
  const Json page = metrics.get("/api/metrics/history/p?symbol=A&limit=2&offset=1");
  CHECK(page["series"][0]["points"][0]["value"] == 234.0);
  CHECK(page["series"][0]["points"][1]["value"] == 236.0);
  const Json hours =
      metrics.get("/api/metrics/history/p?symbol=B&resolution=3600")["series"][0]["points"];
  REQUIRE(hours.size() == 3);
  CHECK(hours[0]["time"] == "2020-09-13T12:00:00Z");
  CHECK(hours[0]["first"] == 1.0);
  // Up to 13:00:00 exclusive: odd i with 30 i < 2000, 1 ... 65.
  CHECK(hours[0]["count"] == 33);
  CHECK(hours[0]["sum"] == 33.0 * 33.0);
  CHECK_THROWS_WITH(metrics.get("/api/metrics/history/q"),
                    Catch::Matchers::Contains("there are p"));
  CHECK_THROWS_WITH(metrics.get("/api/metrics/history/p?symbol=C"),
                    Catch::Matchers::Contains("\"symbol\":\"A\""));
  CHECK_THROWS(metrics.get("/api/metrics/history/p?resolution=7"));
  CHECK_THROWS(metrics.get("/api/metrics/history/p?from=yesterday"));
}

TEST_CASE("metrics: max_history bounds the points, roll-ups keep the rest", "[unit][metrics]") {
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += gauge_line("m", i, i * 60);
  for (const int bound : {50, 200}) {
    MetricsHost metrics(R"({"max_history": )" + std::to_string(bound) + "}");
    metrics.host.deliver(lines);
    const Json raw = metrics.get("/api/metrics/history/m?resolution=raw")["series"][0];
    CHECK(raw["over"]["points_total"] == bound);
    CHECK(raw["over"]["is_complete"] == false);
    CHECK(raw["points"][0]["value"] == 300 - bound);
    CHECK(raw["count"] == 300);
    // Behind the points, the finest roll-up that reaches back is chosen.
    const Json all = metrics.get("/api/metrics/history/m?from=2020-09-13T12:00:00Z")["series"][0];
    CHECK(all["over"]["resolution"] == 60);
    CHECK(all["over"]["points_total"] == 300);
    CHECK(all["over"]["is_complete"] == true);
  }
}

TEST_CASE("metrics: update_interval is told", "[unit][metrics]") {
  MetricsHost five;
  CHECK(five.get("/api/metrics/dashboard")["update_interval_s"] == 5.0);
  MetricsHost two(R"({"update_interval_s": 2})");
  CHECK(two.get("/api/metrics/dashboard")["update_interval_s"] == 2.0);
}

TEST_CASE("metrics: beyond max_series an idle one makes room, else points are counted",
          "[unit][metrics]") {
  // Of two points each one is in the history only: the roll-ups need their rows.
  MetricsHost metrics(R"({"max_series": 2, "idle_series_h": 1, "max_history": 1})");
  metrics.host.deliver(gauge_line("a", 1, -1) + gauge_line("b", 1, 9) + gauge_line("a", 1, 0) +
                       gauge_line("b", 1, 10) + gauge_line("c", 1, 20));
  CHECK(metrics.summary()["metric_points_refused"] == 1);
  metrics.host.save();
  CHECK(metrics.host.rows("metric_rollup").size() == 6);
  metrics.host.deliver(gauge_line("b", 2, 7200) + gauge_line("c", 5, 7210));
  CHECK(metrics.summary()["metric_series"] == 2);
  CHECK(metrics.summary()["metric_series_evicted"] == 1);
  CHECK(metrics.get("/api/metrics/history/c")["series"][0]["count"] == 1);
  CHECK_THROWS(metrics.get("/api/metrics/history/a"));
  metrics.host.save();
  for (const StoredRow& row : metrics.host.rows("metric_rollup"))
    CHECK(row.at("name").bytes != "a");
}

TEST_CASE("metrics: slices and crashes change nothing, rows are absolute", "[unit][metrics]") {
  const auto run = [](std::size_t slice, bool crashes) {
    MetricsHost metrics(R"({"max_history": 40, "keep_minutes_h": 1})");
    metrics.host.set_slice_size(slice);
    for (int part = 0; part < 6; ++part) {
      std::string lines;
      for (int i = 0; i < 60; ++i) {
        const int n = part * 60 + i;
        lines += metric_line({{"name", n % 3 == 0 ? "a" : "b"}, {"value", n * 0.5}, {"unit", "s"}},
                             n * 20 - (n % 7 == 0 ? 900 : 0));
      }
      metrics.host.deliver(lines + metric_line({{"name", "broken"}}, part));
      if (crashes && part % 2 == 0) metrics.host.save();
      if (crashes && part % 2 == 1) CHECK(metrics.host.crash());
    }
    metrics.host.save();
    std::string out = metrics.host.ask("metrics.summary") +
                      metrics.host.request("GET", "/api/metrics/history/a") +
                      metrics.host.request("GET", "/api/metrics/history/b?resolution=60");
    for (const StoredRow& row : metrics.host.rows("metric_rollup")) {
      for (const auto& [column, cell] : row) {
        out += column + "=" + cell.bytes + std::to_string(cell.integer) + "/" +
               std::to_string(cell.real) + " ";
      }
    }
    return out;
  };
  const std::string expected = run(256, false);
  CHECK(run(1, false) == expected);
  CHECK(run(17, true) == expected);
}
