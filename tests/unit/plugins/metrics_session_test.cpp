// SPDX-License-Identifier: Apache-2.0
//
// The recorded session against a second, naive computation over its lines.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "metrics_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::testing;
using Json = nlohmann::json;

namespace {

struct Naive {
  std::vector<std::pair<std::string, double>> points;  // time as text, which sorts as time
  std::map<std::string, std::vector<std::pair<std::string, double>>> hours;
};

}  // namespace

TEST_CASE("metrics: the session's figures are those of a naive count", "[unit][metrics]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  MetricsHost metrics;
  std::map<std::string, Naive> expected;
  std::set<std::string> ids;
  std::string lines;
  for_each_line(*path, [&](std::string_view line) {
    if (line.find("\"ephor.metric\"") == std::string_view::npos) return;
    const Json event = Json::parse(line);
    if (!ids.insert(event["id"]).second) return;  // the host would drop it
    lines += line;
    if (line.back() != '\n') lines += '\n';
    const std::string name = event["data"]["name"];
    const std::pair<std::string, double> point{event["time"], event["data"]["value"]};
    expected[name].points.push_back(point);
    expected[name].hours[point.first.substr(0, 13)].push_back(point);
  });
  metrics.host.deliver(lines);
  REQUIRE(expected.size() == 5);
  CHECK(metrics.summary()["metric_points"] == ids.size());
  for (auto& [name, naive] : expected) {
    INFO(name);
    std::stable_sort(naive.points.begin(), naive.points.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    double sum = 0.0;
    double least = naive.points[0].second;
    double most = least;
    for (const auto& [time, value] : naive.points) {
      sum += value;
      least = std::min(least, value);
      most = std::max(most, value);
    }
    const Json answer =
        metrics.get("/api/metrics/history/" + name + "?symbol=BTCUSDT&limit=1000000");
    const Json& series = answer["series"][0];
    CHECK(series["count"] == naive.points.size());
    CHECK(series["mean"] == Approx(sum / static_cast<double>(naive.points.size())));
    CHECK(series["min"] == least);
    CHECK(series["max"] == most);
    CHECK(series["value"] == naive.points.back().second);
    CHECK(series["time"] == naive.points.back().first);
    REQUIRE(series["points"].size() == 1000);
    CHECK(series["points"][0]["time"] == naive.points[naive.points.size() - 1000].first);

    const Json hours =
        metrics.get("/api/metrics/history/" + name + "?resolution=3600")["series"][0]["points"];
    REQUIRE(hours.size() == naive.hours.size());
    std::size_t at = 0;
    for (auto& [hour, points] : naive.hours) {
      std::stable_sort(points.begin(), points.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      double hour_sum = 0.0;
      for (const auto& [time, value] : points) hour_sum += value;
      CHECK(hours[at]["time"] == hour + ":00:00Z");
      CHECK(hours[at]["count"] == points.size());
      CHECK(hours[at]["sum"] == Approx(hour_sum));
      CHECK(hours[at]["first"] == points.front().second);
      CHECK(hours[at]["last"] == points.back().second);
      ++at;
    }
  }
}
