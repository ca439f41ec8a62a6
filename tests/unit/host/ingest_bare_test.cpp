// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "ingest/bare_records.hpp"
#include "ingest_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::host::test;
using nlohmann::json;

namespace {

// The events of one body, whole, by id.
std::map<std::string, json> events_of(const std::string& body, IngestConfig config = {}) {
  Names names;
  Door door(std::move(config), names);
  const Arrival arrival = door.admit(buffer_of(body), admission(EPHOR_FORMAT_LINES));
  std::map<std::string, json> events;
  for (const Rejection& rejection : arrival.rejections) {
    events["rejected"] = rejection.json_pointer + " " + rejection.reason;
  }
  for (const ArrivedBatch& arrived : arrival.batches) {
    for (const ephor_event& event : arrived.batch->events) {
      const json whole = json::parse(record_of(event));
      events[whole["id"]] = whole;
    }
  }
  return events;
}

std::string line_of(const std::string& text, int wanted) {
  std::size_t from = 0;
  for (int line = 1; line < wanted; ++line) from = text.find('\n', from) + 1;
  return text.substr(from, text.find('\n', from) - from);
}

std::string client_line(int line) {
  return line_of(slurp(ephor::testing::test_data("ingest/client.ndjson")), line);
}

}  // namespace

TEST_CASE("bare: every shape of the client becomes its events", "[unit][ingest]") {
  const json expected =
      json::parse(slurp(ephor::testing::test_data("ingest/client.expected.json")));
  Names names;
  Door door(IngestConfig(), names);
  const std::string body = slurp(ephor::testing::test_data("ingest/client.ndjson"));
  const Arrival arrival = door.admit(buffer_of(body), admission());
  for (const Rejection& rejection : arrival.rejections) {
    UNSCOPED_INFO(rejection.line << " " << rejection.json_pointer << " " << rejection.reason);
  }
  CHECK(arrival.record_count == expected["records"]);
  CHECK(arrival.rejected_count == expected["rejected"]);
  REQUIRE(arrival.batches.size() == 1);
  std::map<std::string, int> counts;
  for (const ephor_event& event : arrival.batches[0].batch->events) {
    ++counts[std::string(names.topics.name(event.topic))];
  }
  CHECK(json(counts) == expected["events"]);
}

TEST_CASE("bare: a trace request is taken apart into spans", "[unit][ingest]") {
  const auto events = events_of(client_line(1));
  REQUIRE(events.size() == 3);  // the running span is left out until it has ended
  const json& request = events.at("trace_request:c-1:completed:2025-03-28 06:00:01");
  CHECK(request["data"]["component_path"] == json::parse(R"(["analyst","tactician"])"));
  CHECK(request["data"]["request_timestamp"] == "2025-03-28T06:00:00.000100000Z");
  CHECK(request["source"] == "unknown");
  const json& first = events.at("trace_span:c-1/span-0123456789abcdef0123456789abcdef");
  const json& second = events.at("trace_span:c-1/00f067aa0ba902b7");
  CHECK(first["correlationid"] == "c-1");
  CHECK(first["data"]["component"] == "analyst");
  CHECK(first["data"]["operation"] == "predict");
  CHECK(first["data"]["status"] == "ok");
  CHECK(first["data"]["attributes"] == json::parse(R"({"k":1})"));
  CHECK(first["data"]["client_span_id"] == "span-0123456789abcdef0123456789abcdef");
  // 2025-03-28T06:00:00Z is 1743141600 s after 1970 (date -d).
  CHECK(first["data"]["start_time_unix_nano"] == 1743141600000200000);
  CHECK(first["data"]["end_time_unix_nano"] == 1743141600000300000);
  CHECK_FALSE(first["data"].contains("parent_span_id"));
  CHECK(second["data"]["status"] == "error");  // completed, but it has an error message
  CHECK(second["data"]["client_status"] == "completed");
  CHECK(second["data"]["span_id"] == "00f067aa0ba902b7");
  CHECK(second["data"]["parent_span_id"] == first["data"]["span_id"]);
  CHECK(second["data"]["trace_id"] == first["data"]["trace_id"]);
  CHECK(second["data"]["start_time_unix_nano"] == 1743141600500000000);
}

TEST_CASE("bare: a trade record is taken apart", "[unit][ingest]") {
  const auto events = events_of(client_line(2));
  CHECK(events.size() == 7);
  const json& trade = events.at("trade_record:trade_1:closed");
  CHECK(trade["time"] == "2025-03-28T06:00:00Z");
  CHECK(trade["correlationid"] == "c-1");
  CHECK(trade["data"]["decision_id"] == "trade_1");
  CHECK(trade["data"]["quantity"] == 1.5);
  CHECK(trade["data"]["regime"] == "BULL");
  CHECK(trade["data"]["close_time"] == "2025-03-28T07:00:00Z");
  CHECK(trade["data"]["pnl"] == -2.4468);
  CHECK_FALSE(trade["data"].contains("ensemble_decision"));
  CHECK(events.at("ensemble_decision:trade_1")["data"]["ensemble_weights"]["BULL_xgboost"] == 0.7);
  const json& prediction = events.at("ensemble_decision:trade_1/prediction/BULL_xgboost");
  CHECK(prediction["data"]["prediction_id"] == "trade_1:BULL_xgboost");
  CHECK(prediction["data"]["decision_id"] == "trade_1");
  CHECK(prediction["data"]["feature_importance"] == json::parse(R"({"rsi":0.4})"));
  CHECK(events.at("ensemble_decision:trade_1/prediction/lstm")["data"]["prediction"] == 0.7);
  CHECK(events.at("decision_path:trade_1")["data"]["metadata"]["a"] == 1);
  CHECK(events.at("trade_record:trade_1/model_behavior/xgboost")["data"]["model_id"] == "xgboost");
}

TEST_CASE("bare: predictions may be an object of objects or of numbers", "[unit][ingest]") {
  const auto events = events_of(client_line(3));
  CHECK(events.size() == 3);
  CHECK(events.at("ensemble_decision:d-1")["data"]["ensemble_id"] == "unknown");
  CHECK(events.at("ensemble_decision:d-1/prediction/b")["data"]["prediction"] == 0.25);
  CHECK(events.at("ensemble_decision:d-1/prediction/a")["data"]["confidence"] == 0.5);
}

TEST_CASE("bare: executions are fills when something was filled, else orders", "[unit][ingest]") {
  const json fill = events_of(client_line(5)).at("trade_execution:x-1:PARTIALLY_FILLED");
  CHECK(fill["type"] == "ephor.fill");
  CHECK(fill["data"]["order_id"] == "17");
  CHECK(fill["data"]["price"] == 100.25);
  CHECK(fill["data"]["quantity"] == 1.5);
  CHECK(fill["data"]["requested_quantity"] == 2);
  CHECK(fill["data"]["fee"] == 0.1);
  const json order = events_of(client_line(6)).at("trade_execution:x-2:rejected");
  CHECK(order["type"] == "ephor.order");
  CHECK(order["data"]["quantity"] == 2);
}

TEST_CASE("bare: times are naive text or epoch numbers of any unit", "[unit][ingest]") {
  const auto time_of = [](const std::string& time) {
    const auto events =
        events_of(R"({"type":"metric_point","name":"x","value":1,"timestamp":)" + time + "}");
    const json& only = events.begin()->second;
    return only.is_string() ? only.get<std::string>() : only["time"].get<std::string>();
  };
  CHECK(time_of("1743141600") == "2025-03-28T06:00:00Z");
  CHECK(time_of("1743141600.25") == "2025-03-28T06:00:00.250000000Z");
  CHECK(time_of("1743141600250") == "2025-03-28T06:00:00.250000000Z");
  CHECK(time_of("1743141600250001") == "2025-03-28T06:00:00.250001000Z");
  CHECK(time_of("1743141600250001003") == "2025-03-28T06:00:00.250001003Z");
  CHECK(time_of(R"("2025-03-28 06:00:00")") == "2025-03-28 06:00:00");
  CHECK(time_of("50000000000").find("/timestamp found 50000000000, expected a time") == 0);
  CHECK(time_of("true").find("/timestamp found true") == 0);
}

TEST_CASE("bare: naive times of spans use the assumed zone", "[unit][ingest]") {
  IngestConfig config;
  config.assumed_offset_ns = 3'600'000'000'000;
  const auto events = events_of(client_line(18), config);
  const json& span = events.at("trace_span:c-3/span-1");
  CHECK(span["data"]["start_time_unix_nano"] == 1743141600000000000 - 3600000000000);
  CHECK(span["data"]["status"] == "error");
}

TEST_CASE("bare: a record without a natural id is known by its content", "[unit][ingest]") {
  const std::string one = R"({"type":"metric_point","name":"x","value":1})";
  const auto first = events_of(one).begin()->first;
  CHECK(first.size() == std::string("metric_point:").size() + 32);
  CHECK(events_of(one).begin()->first == first);
  CHECK(events_of(R"({"type":"metric_point","name":"x","value":2})").begin()->first != first);
}

TEST_CASE("bare: the table is configuration", "[unit][ingest]") {
  IngestConfig config;
  config.bare = BareMapping::standard_with(
      R"({"tick":{"topic":"=ephor.market","id":"tick:{n}","fields":{"symbol":"s","price":"p"}}})",
      "here");
  const auto events = events_of(R"({"type":"tick","n":7,"s":"B","p":1.5})", config);
  CHECK(events.at("tick:7")["data"] == json::parse(R"({"symbol":"B","price":1.5})"));
}

TEST_CASE("bare: faults point into the record as it was sent", "[unit][ingest]") {
  const auto fault = [](const std::string& record) {
    return events_of(record).at("rejected").get<std::string>();
  };
  CHECK(
      fault(
          R"({"type":"trade_record","trade_id":"t","symbol":"B","side":"buy","size":"one","price":1,"status":"open"})")
          .find("/size found \"one\"") == 0);
  CHECK(
      fault(
          R"({"type":"trade_record","symbol":"B","side":"buy","size":1,"price":1,"status":"open"})")
          .find("/trade_id found nothing") == 0);
  CHECK(fault(R"({"type":"outcome","decision_id":"d","actual_outcome":[]})")
            .find("/actual_outcome found an array") == 0);
  CHECK(
      fault(
          R"({"type":"trace_request","correlation_id":"c","spans":[{"span_id":"a","component_type":"x","operation_name":"y","start_time":2,"end_time":1}]})")
          .find("/spans/0/end_time") == 0);
  CHECK(
      fault(R"({"type":"trace_request","correlation_id":"c","spans":7})").find("/spans found 7") ==
      0);
  CHECK(
      fault(
          R"({"type":"ensemble_decision","decision_id":"d","ensemble_decision":{"primary_prediction":"x","ensemble_weights":{"a":-1}}})")
          .find("/ensemble_decision/ensemble_weights/a found -1") == 0);
  CHECK(
      fault(
          R"({"type":"trade_record","trade_id":"t\u0000x","symbol":"B","side":"buy","size":1,"price":1,"status":"open"})")
          .find("/trade_id ") == 0);
}
