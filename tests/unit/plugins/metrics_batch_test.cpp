// SPDX-License-Identifier: Apache-2.0
//
// Batches of samples and single ones are the same to the plugin; what it saves comes back.
#include <bit>
#include <cmath>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "metric_series.hpp"
#include "metrics_support.hpp"
#include "point_codec.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;
using ephor::metrics::MetricPoint;
using Json = nlohmann::json;

namespace {

std::string batch_line(const Json& tables, double at_s) {
  static int number = 0;
  return Json{{"specversion", "1.0"},
              {"id", "batch-" + std::to_string(++number)},
              {"source", "test"},
              {"type", "ephor.metric_batch"},
              {"time", rfc3339(kEpoch + static_cast<std::int64_t>(at_s * 1e9))},
              {"data", {{"tables", tables}}}}
             .dump() +
         "\n";
}

// Two series with two metrics at three times, one value missing: every way a column can be written.
const char* const kTable = R"([{
  "labels": [{"name": "symbol", "values": ["BTC", "ETH"], "deltas": [0, 1]},
             {"name": "component", "values": ["feed"]}],
  "rows": [3, 2],
  "times": {"unit_ns": 1000000000, "deltas": [1600000000, 1, 1, -2, 1]},
  "columns": [
    {"name": "lag", "kind": "gauge", "unit": "s", "scale": 2, "integers": [125, 130, 90, 5, 1005]},
    {"name": "sent", "kind": "counter", "deltas": [100, 10, 5, 885, 1]},
    {"name": "load", "rows": [0, 4], "values": [0.5, 1e300]},
    {"name": "state", "texts": ["up", "up", "down", "up", "up"]}]}])";

std::string singles() {
  struct One {
    const char* symbol;
    int at_s;
    const char* name;
    const char* kind;
    double value;
  };
  const One all[] = {{"BTC", 0, "lag", "gauge", 1.25},    {"BTC", 1, "lag", "gauge", 1.3},
                     {"BTC", 2, "lag", "gauge", 0.9},     {"ETH", 0, "lag", "gauge", 0.05},
                     {"ETH", 1, "lag", "gauge", 10.05},   {"BTC", 0, "sent", "counter", 100},
                     {"BTC", 1, "sent", "counter", 110},  {"BTC", 2, "sent", "counter", 115},
                     {"ETH", 0, "sent", "counter", 1000}, {"ETH", 1, "sent", "counter", 1001},
                     {"BTC", 0, "load", "gauge", 0.5},    {"ETH", 1, "load", "gauge", 1e300}};
  std::string lines;
  for (const One& one : all) {
    Json data{{"name", one.name},
              {"value", one.value},
              {"kind", one.kind},
              {"labels", {{"symbol", one.symbol}, {"component", "feed"}}}};
    if (std::string(one.name) == "lag") data["unit"] = "s";
    lines += metric_line(data, one.at_s);
  }
  return lines;
}

}  // namespace

TEST_CASE("metrics: a batch is what its samples are one by one", "[unit][metrics]") {
  MetricsHost one;
  MetricsHost other;
  one.host.deliver(batch_line(Json::parse(kTable), 2));
  other.host.deliver(singles());
  CHECK(one.summary() == other.summary());
  CHECK(one.summary()["metric_points"] == 12);
  CHECK(one.summary()["metric_series"] == 6);
  CHECK(one.get("/api/metrics/series") == other.get("/api/metrics/series"));
  for (const char* name : {"lag", "sent", "load"}) {
    const std::string target = std::string("/api/metrics/history/") + name;
    CHECK(one.get(target) == other.get(target));
    CHECK(one.get(target + "?resolution=60") == other.get(target + "?resolution=60"));
  }
}

TEST_CASE("metrics: refused samples of batches are counted one by one", "[unit][metrics]") {
  MetricsHost metrics(R"({"max_series": 2})");
  metrics.host.deliver(batch_line(Json::parse(kTable), 2));
  // lag and sent of BTC are kept; load of BTC has one sample, ETH five.
  CHECK(metrics.summary()["metric_series"] == 2);
  CHECK(metrics.summary()["metric_points_refused"] == 6);
  CHECK(metrics.summary()["metric_points"] == 12);
}

TEST_CASE("metrics: a damaged batch is counted and harms nothing", "[unit][metrics]") {
  MetricsHost metrics;
  const Json good = Json::parse(kTable);
  const auto broken = [&](const char* pointer, const Json& value) {
    Json table = good;
    table[Json::json_pointer(pointer)] = value;
    return batch_line(table, 2);
  };
  metrics.host.deliver(broken("/0/rows", {3, 3}) + broken("/0/rows/1", -1) +
                       broken("/0/times/unit_ns", 0) + broken("/0/labels/0/deltas", {0, 2}) +
                       broken("/0/labels/0/deltas", {0}) + broken("/0/columns/0/scale", 40) +
                       broken("/0/columns/0/integers", {1, 2}) +
                       broken("/0/columns/2/rows", {0, 9}) + broken("/0/columns/1/deltas", "x") +
                       broken("/0", "table"));
  CHECK(metrics.summary()["metrics_unreadable"] == 10);
  CHECK(metrics.summary()["metric_points"] == 0);
  metrics.host.deliver(batch_line(good, 2));
  CHECK(metrics.summary()["metric_points"] == 12);
}

TEST_CASE("metrics: no sample is newer than its event", "[unit][metrics]") {
  MetricsHost metrics;
  metrics.host.deliver(batch_line(Json::parse(kTable), 1));
  const Json series = metrics.get("/api/metrics/history/lag?symbol=BTC")["series"][0];
  CHECK(series["time"] == rfc3339(kEpoch + kSecond));
  CHECK(series["value"] == 0.9);
}

TEST_CASE("metrics: histograms of batches answer quantiles, deltas a rate", "[unit][metrics]") {
  MetricsHost metrics;
  metrics.host.deliver(batch_line(Json::parse(R"([{
    "labels": [], "rows": [2], "times": {"unit_ns": 1000000000, "deltas": [1600000000, 10]},
    "columns": [
      {"name": "h", "kind": "histogram", "values": [4, 10],
       "histograms": [{"bounds": [1, 2], "counts": [4, 0, 0]},
                      {"bounds": [1, 2], "counts": [5, 5, 0]}]},
      {"name": "d", "kind": "delta", "values": [7, 30]}]}])"),
                                  10));
  const Json h = metrics.get("/api/metrics/history/h")["series"][0];
  CHECK(h["kind"] == "histogram");
  CHECK(h["histogram"]["count"] == 10.0);
  CHECK(h["histogram"]["p50"] == 1.0);
  CHECK(h["histogram"]["p95"] == Approx(1.9));
  const Json d = metrics.get("/api/metrics/history/d")["series"][0];
  CHECK(d["kind"] == "delta");
  CHECK(d["rate_1h"]["increase"] == 30.0);
  CHECK(d["rate_1h"]["per_s"] == 3.0);
  CHECK(d["points"][1]["rate_per_s"] == 3.0);
}

TEST_CASE("metrics: saved points come back to the bit", "[unit][metrics]") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 300; ++round) {
    std::deque<MetricPoint> points;
    std::int64_t time_ns = static_cast<std::int64_t>(random());
    if (round % 3 != 0) time_ns = kEpoch;
    for (std::uint64_t left = random() % 50; left > 0; --left) {
      double value = static_cast<double>(random() % 2'000'000) / 1000.0 - 1000.0;
      if (round % 5 == 1) value = std::bit_cast<double>(random());
      if (round % 5 == 2) value = std::floor(value);
      if (round % 5 == 3 && random() % 4 == 0) value = -0.0;
      if (!std::isfinite(value)) value = 0.1;
      points.push_back({time_ns, value});
      if (round % 3 != 0) time_ns += static_cast<std::int64_t>(random() % 3) * kSecond;
    }
    std::string state;
    ephor::StateWriter out(state);
    ephor::metrics::write_points(out, points);
    const std::string packed = ephor::metrics::pack(state);
    const std::string plain = ephor::metrics::unpack(packed);
    ephor::StateReader in(plain);
    std::deque<MetricPoint> back;
    ephor::metrics::read_points(in, back);
    CHECK(in.at_end());
    REQUIRE(back.size() == points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      CHECK(back[i].time_ns == points[i].time_ns);
      CHECK(std::bit_cast<std::uint64_t>(back[i].value) ==
            std::bit_cast<std::uint64_t>(points[i].value));
    }
  }
  CHECK_THROWS(ephor::metrics::unpack("nonsense"));
  std::string damaged = ephor::metrics::pack(std::string(1000, 'x'));
  damaged.resize(damaged.size() / 2);
  CHECK_THROWS(ephor::metrics::unpack(damaged));
}

TEST_CASE("metrics: a restart changes nothing, whatever came late", "[unit][metrics]") {
  std::mt19937_64 random(5);
  std::vector<std::string> parts(6);
  for (int i = 0; i < 600; ++i) {
    // Mostly in order, every tenth point late, some of them out of what the history keeps.
    const double at_s = i * 7.0 - (i % 10 == 9 ? static_cast<double>(random() % 3000) : 0.0);
    const double value = static_cast<double>(random() % 100'000) / 7.0;
    parts[static_cast<std::size_t>(i / 100)] +=
        gauge_line(i % 2 == 0 ? "a" : "b", value, at_s + 5000);
  }
  const auto run = [&](bool crashes) {
    MetricsHost metrics(R"({"max_history": 60, "keep_minutes_h": 1})");
    for (const std::string& part : parts) {
      metrics.host.deliver(part);
      if (!crashes) continue;
      metrics.host.save();
      metrics.host.crash();
    }
    metrics.host.save();
    std::string out = metrics.host.ask("metrics.summary");
    for (const char* name : {"a", "b"}) {
      for (const char* resolution : {"raw", "60", "3600", "86400"}) {
        out += metrics.host.request(
            "GET", std::string("/api/metrics/history/") + name + "?resolution=" + resolution);
      }
    }
    for (const StoredRow& row : metrics.host.rows("metric_rollup")) {
      for (const auto& [column, cell] : row) {
        out += column + "=" + cell.bytes + std::to_string(cell.integer) + "/" +
               std::to_string(cell.real) + " ";
      }
    }
    return out;
  };
  const std::string expected = run(false);
  CHECK(expected.find("metric") != std::string::npos);
  CHECK(run(true) == expected);
}
