// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "correlation_record.hpp"
#include "story.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;
using ephor::Json;

namespace {

std::string text_of(const CorrelationRow& row) {
  return row.correlation_id + "|" + row.request_timestamp + "|" + row.response_timestamp + "|" +
         row.component_path + "|" + row.performance_metrics_json + "|" + row.error_info_json + "|" +
         row.metadata_json;
}

struct Call {
  const char* component;
  std::int64_t start_ns;
  std::int64_t end_ns;
  bool is_error;
};

CorrelationRecord record_of_calls(const std::vector<Call>& calls) {
  CorrelationRecord record;
  record.id = "corr-1";
  for (const Call& call : calls) {
    record.add_span(call.component, "handle", call.start_ns, call.end_ns, call.is_error,
                    call.is_error ? "broke \"here\"" : "");
  }
  return record;
}

StoryEvent story_event(std::uint64_t sequence, std::int64_t time_ns, std::string topic, Json data) {
  return {sequence,
          time_ns,
          topic,
          "correlation_id",
          {{"specversion", "1.0"},
           {"id", "e" + std::to_string(sequence)},
           {"source", "s"},
           {"type", topic},
           {"data", std::move(data)}}};
}

}  // namespace

TEST_CASE("correlation: the row does not depend on the order of spans", "[unit][tracing]") {
  std::vector<Call> calls{{"analyst", 100'000, 200'000, false},
                          {"ares", 100'900, 900'001, false},
                          {"strategist", 210'000, 400'000, true},
                          {"analyst", 120'000, 150'000, false},
                          {"tactician", 410'000, 800'000, false}};
  const CorrelationRow row = row_of(record_of_calls(calls));
  REQUIRE(row.component_path == "ares>analyst>strategist>tactician");
  REQUIRE(row.request_timestamp == "1970-01-01T00:00:00.000100Z");
  REQUIRE(row.response_timestamp == "1970-01-01T00:00:00.000901Z");
  const Json performance = Json::parse(row.performance_metrics_json);
  REQUIRE(performance["span_count"] == 5);
  REQUIRE(performance["duration_ms"].get<double>() == Approx(0.801));
  // In the order of the path: start after the first span, length, spans. Whole microseconds, from
  // the one that a span begins in to the one that it ends in.
  REQUIRE(performance["components_us"] ==
          Json{{0, 801, 1}, {0, 100, 2}, {110, 190, 1}, {310, 390, 1}});
  REQUIRE(Json::parse(row.error_info_json)["errors"][0]["message"] == "broke \"here\"");
  std::mt19937_64 random(2);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(calls.begin(), calls.end(), random);
    REQUIRE(text_of(row_of(record_of_calls(calls))) == text_of(row));
  }
}

TEST_CASE("correlation: going on from its row equals never having left", "[unit][tracing]") {
  std::vector<Call> calls;
  std::mt19937_64 random(3);
  const char* components[] = {"analyst", "strategist", "tactician"};
  for (int i = 0; i < 60; ++i) {
    const auto start = static_cast<std::int64_t>(random() % 1'000'000);
    calls.push_back({components[random() % 3], start,
                     start + static_cast<std::int64_t>(random() % 1000), random() % 2 == 0});
  }
  CorrelationRecord kept = record_of_calls(calls);
  kept.told().request_ns = 5;
  kept.told().metadata_json = R"({"cycle":3,"symbol":"ETHUSDT"})";
  kept.told().component_path = {"a", "b"};
  CorrelationRecord evicted = record_of_calls({calls.begin(), calls.begin() + 30});
  evicted.told().request_ns = 5;
  evicted.told().metadata_json = kept.told().metadata_json;
  evicted.told().component_path = kept.told().component_path;
  std::optional<CorrelationRecord> back = record_of(row_of(evicted));
  REQUIRE(back);
  for (std::size_t i = 30; i < calls.size(); ++i) {
    back->add_span(calls[i].component, "handle", calls[i].start_ns, calls[i].end_ns,
                   calls[i].is_error, calls[i].is_error ? "broke \"here\"" : "");
  }
  REQUIRE(text_of(row_of(*back)) == text_of(row_of(kept)));
  REQUIRE(Json::parse(row_of(*back).metadata_json)["symbol"] == "ETHUSDT");
  REQUIRE_FALSE(record_of({"corr", "", "", "", "[]", "", "{}"}));
}

TEST_CASE("correlation: a row without a client's own times goes on from its first span",
          "[unit][tracing]") {
  const std::vector<Call> calls{{"analyst", 5'000, 6'000, false}, {"exchange", 5'500, 9'000, true}};
  CorrelationRecord evicted = record_of_calls(calls);
  std::optional<CorrelationRecord> back = record_of(row_of(evicted));
  REQUIRE(back);
  REQUIRE(text_of(row_of(*back)) == text_of(row_of(evicted)));
  // An earlier span comes late: every offset moves.
  evicted.add_span("ares", "handle", 4'000, 9'500, false, "");
  back->add_span("ares", "handle", 4'000, 9'500, false, "");
  REQUIRE(text_of(row_of(*back)) == text_of(row_of(evicted)));
  REQUIRE(row_of(*back).request_timestamp == "1970-01-01T00:00:00.000004Z");
}

TEST_CASE("correlation: a component's name may have any shape, and an id any number of them",
          "[unit][tracing]") {
  CorrelationRecord record;
  record.id = "corr-1";
  const std::vector<std::string> names{"", "a>b", ">", std::string(300, 'x'), "\"quoted\""};
  for (std::size_t i = 0; i < names.size(); ++i) {
    record.add_span(names[i], "handle", static_cast<std::int64_t>(i) * 1000, 9'000, false, "");
  }
  REQUIRE(record.component_path() ==
          std::vector<std::string>{"", "a_b", "_", std::string(255, 'x'), "\"quoted\""});
  std::optional<CorrelationRecord> back = record_of(row_of(record));
  REQUIRE(back);
  REQUIRE(text_of(row_of(*back)) == text_of(row_of(record)));
  REQUIRE(back->component_path() == record.component_path());
  for (int i = 0; i < 100; ++i) record.add_span(std::to_string(i), "", -1, 1, false, "");
  REQUIRE(record.component_path().size() == ComponentExtents::kComponentsMax);
  back = record_of(row_of(record));
  REQUIRE(back);
  REQUIRE(text_of(row_of(*back)) == text_of(row_of(record)));
}

TEST_CASE("story: parts of one decision come together in time order", "[unit][tracing]") {
  std::vector<StoryEvent> events;
  events.push_back(
      story_event(9, 900, "ephor.trade", {{"trade_id", "t1"}, {"status", "closed"}, {"pnl", 2.5}}));
  events.push_back(story_event(3, 300, "ephor.trade",
                               {{"trade_id", "t1"}, {"status", "open"}, {"decision_id", "d1"}}));
  events.push_back(story_event(2, 200, "ephor.ensemble_decision", {{"decision_id", "d1"}}));
  events.push_back(story_event(1, 100, "ephor.span",
                               {{"trace_id", "aa"},
                                {"span_id", "s1"},
                                {"component", "analyst"},
                                {"operation", "predict"},
                                {"start_time_unix_nano", 50},
                                {"end_time_unix_nano", "100"},
                                {"status", "error"},
                                {"error_message", "broke"}}));
  const auto ids = join_ids_of(events[1]);
  REQUIRE(ids.size() == 2);
  REQUIRE(ids[0].kind == "decision_id");
  REQUIRE(ids[1].id == "t1");
  const Json story = tell_story("c1", std::move(events), nullptr, Json::array(), false);
  REQUIRE(story["over"]["events"] == 4);
  REQUIRE(story["events"][0]["id"] == "e1");
  REQUIRE(story["spans"]["roots"][0]["duration_ms"].get<double>() == Approx(5e-5));
  REQUIRE(story["errors"][0]["message"] == "broke");
  REQUIRE(story["decision"]["data"]["decision_id"] == "d1");
  REQUIRE(story["trade"]["open"]["data"]["status"] == "open");
  REQUIRE(story["trade"]["close"]["data"]["pnl"] == 2.5);
  REQUIRE(story["regime"].is_null());
}

TEST_CASE("story: a very deep trace is cut, not recursed into", "[unit][tracing]") {
  std::vector<StoryEvent> events;
  for (int i = 0; i < 5000; ++i) {
    events.push_back(story_event(static_cast<std::uint64_t>(i + 1), i, "ephor.span",
                                 {{"span_id", std::to_string(i)},
                                  {"parent_span_id", i == 0 ? "" : std::to_string(i - 1)},
                                  {"start_time_unix_nano", i},
                                  {"end_time_unix_nano", 10'000 - i}}));
  }
  const Json trace = tell_trace("aa", std::move(events), false);
  REQUIRE(trace["span_count"] == 5000);
  REQUIRE(trace.dump().find("children_not_shown") != std::string::npos);
}
