// SPDX-License-Identifier: Apache-2.0
//
// The parts of what one can see of the bus: the tally of topics, summaries in /metrics, the table.
#include <algorithm>
#include <map>
#include <random>
#include <sstream>
#include <vector>

#include "core/metric_registry.hpp"
#include "core/top.hpp"
#include "core/topic_tally.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using Json = nlohmann::json;

TEST_CASE("topic tally: counts and newest times are those of the events", "[unit][core]") {
  std::mt19937 random(3);
  TopicTally tally;
  std::map<std::uint16_t, std::pair<std::uint64_t, std::int64_t>> expected;
  for (int batch = 0; batch < 200; ++batch) {
    std::vector<ephor_event> events(1 + random() % 50);
    for (ephor_event& event : events) {
      event.topic = static_cast<std::uint16_t>(random() % 4 == 0 ? random() : random() % 3);
      event.time_ns = static_cast<std::int64_t>(random()) - (1LL << 31);
      auto& [count, last_ns] = expected.try_emplace(event.topic, 0, INT64_MIN).first->second;
      ++count;
      last_ns = std::max(last_ns, event.time_ns);
    }
    tally.count(events);
  }
  std::map<std::uint16_t, std::pair<std::uint64_t, std::int64_t>> found;
  tally.visit([&](std::uint16_t topic, std::uint64_t events, std::int64_t last_ns) {
    found[topic] = {events, last_ns};
  });
  CHECK(found == expected);
}

TEST_CASE("metric registry: a summary is one family of quantiles, sum and count", "[unit][core]") {
  MetricRegistry metrics;
  const auto put = [&](const std::map<std::string, std::string>& labels, double value,
                       const char* suffix = "") {
    metrics.series(MetricRegistry::Kind::summary, "delay_seconds", "How long.", labels, suffix)
        .value = value;
  };
  for (int times = 0; times < 2; ++times) {
    put({{"quantile", "0.5"}}, 0.25);
    put({}, 8, "_sum");
    put({}, 32, "_count");
  }
  CHECK(metrics.render() ==
        "# HELP delay_seconds How long.\n# TYPE delay_seconds summary\n"
        "delay_seconds{quantile=\"0.5\"} 0.25\ndelay_seconds_sum 8\ndelay_seconds_count 32\n");
}

namespace {

Json reader_of(double lag, double busy_share) {
  const Json delays{{"recent_p99", 1234.5678}};
  return {{"policy", "drop_oldest"},
          {"delivered_per_s", 1234567.0},
          {"lag", lag},
          {"lag_max", 987654321},
          {"skipped", 123456},
          {"superseded", 1},
          {"queue_delay_ms", delays},
          {"handler_ms", delays},
          {"busy_share", busy_share}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

}  // namespace

TEST_CASE("top: the table fits 100 columns and puts first what needs a look", "[unit][core]") {
  const auto instance = [](const char* name, const char* health, Json reader) {
    Json out{{"instance", name}, {"state", "quarantined"}, {"health", health}, {"errors", 1234567}};
    if (!reader.is_null()) out["reader"] = std::move(reader);
    return out;
  };
  const Json status{
      {"log_time", "2025-01-01T00:00:00.123456789Z"},
      {"log", {{"events", 1e9}, {"derived", 1e9}, {"late", 1e9}}},
      {"ring", {{"events_per_s", 1e7}}},
      {"instances",
       {instance("calm", "ok", reader_of(0, 0.01)), instance("silent", "ok", Json()),
        instance("busy", "ok", reader_of(0, 1.0)), instance("behind", "ok", reader_of(5000, 0.0)),
        instance("ill", "degraded", reader_of(0, 0.0)),
        instance("a_name_longer_than_the_column", "failed", reader_of(1e12, 0.5))}}};
  const std::vector<std::string> lines = lines_of(top_table(status));
  REQUIRE(lines.size() == 8);
  for (const std::string& line : lines) CHECK(line.size() <= 100);
  std::vector<std::string> order;
  for (std::size_t i = 2; i < lines.size(); ++i) order.push_back(lines[i].substr(0, 6));
  CHECK(order ==
        std::vector<std::string>{"a_name", "ill   ", "behind", "busy  ", "calm  ", "silent"});
  for (const char* figure : {"drop", "1.23M", "5.00k", "988M", "123k", "1.2s", "0.0"}) {
    CHECK(lines[4].find(figure) != std::string::npos);
  }
}

TEST_CASE("top: a host without events or readers is shown, too", "[unit][core]") {
  const Json status{{"log_time", nullptr}, {"instances", Json::array()}};
  const std::string table = top_table(status);
  CHECK(table.find("no data") != std::string::npos);
  CHECK(lines_of(table).size() == 2);
}
