// SPDX-License-Identifier: Apache-2.0
//
// OTLP metrics and logs at the door, by documents a person can read; tests/oracle has random ones.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ingest_support.hpp"
#include "support/catch.hpp"
#include "support/metric_batch_reference.hpp"

using namespace ephor::host;
using namespace ephor::host::test;
using ephor::testing::ReferenceSample;
using Json = nlohmann::json;
using Labels = std::map<std::string, std::string>;

namespace {

struct Taken {
  std::vector<ReferenceSample> samples;
  std::vector<Json> records;
  std::vector<ephor_event> events;  // records are gone
  std::vector<Rejection> rejections;
  std::vector<std::uint64_t> join_keys;
  std::uint32_t record_count = 0;
};

Taken take(std::string_view body, std::uint32_t format) {
  Names names;
  Door door(IngestConfig(), names);
  const Arrival arrival = door.admit(buffer_of(body), admission(format));
  Taken out;
  out.rejections = arrival.rejections;
  out.record_count = arrival.record_count;
  for (const ArrivedBatch& arrived : arrival.batches) {
    out.join_keys.insert(out.join_keys.end(), arrived.batch->join_keys.begin(),
                         arrived.batch->join_keys.end());
    for (const ephor_event& event : arrived.batch->events) {
      out.events.push_back(event);
      out.records.push_back(Json::parse(record_of(event)));
      if (out.records.back()["type"] != "ephor.metric_batch") continue;
      for (auto& sample : ephor::testing::reference_samples(out.records.back()["data"])) {
        out.samples.push_back(std::move(sample));
      }
    }
  }
  return out;
}

Taken metrics(const Json& metric_list) {
  const Json body{
      {"resourceMetrics",
       {{{"resource",
          {{"attributes",
            {{{"key", "service.name"}, {"value", {{"stringValue", "bot"}}}},
             {{"key", "process.pid"}, {"value", {{"intValue", "77"}}}}}}}},
         {"scopeMetrics", {{{"scope", {{"name", "lib"}}}, {"metrics", metric_list}}}}}}}};
  return take(body.dump(), EPHOR_FORMAT_OTLP_METRICS_JSON);
}

ReferenceSample find(const Taken& taken, const std::string& name) {
  for (const ReferenceSample& sample : taken.samples) {
    if (sample.name == name) return sample;
  }
  FAIL("no sample of " << name);
  return {};
}

const Labels kCommon{{"otel_scope_name", "lib"}, {"service.name", "bot"}};

bool has_join(const Taken& taken, JoinKind kind, std::string_view id) {
  return std::ranges::find(taken.join_keys, join_key(kind, hash64(id))) != taken.join_keys.end();
}

}  // namespace

TEST_CASE("otlp metrics: gauges and sums have their kind", "[unit][ingest][otlp]") {
  const Json point{{"timeUnixNano", "1700000000000000000"},
                   {"attributes",
                    {{{"key", "symbol"}, {"value", {{"stringValue", "BTC"}}}},
                     {{"key", "n"}, {"value", {{"intValue", 3}}}}}}};
  Json whole = point;
  whole["asInt"] = "-42";
  Json real = point;
  real["asDouble"] = 0.25;
  const auto sum = [&](const Json& one, const Json& temporality, bool is_monotonic) {
    return Json{{"dataPoints", {one}},
                {"aggregationTemporality", temporality},
                {"isMonotonic", is_monotonic}};
  };
  const Taken taken =
      metrics({{{"name", "g"}, {"unit", "ms"}, {"gauge", {{"dataPoints", {real, whole}}}}},
               {{"name", "c"}, {"sum", sum(whole, 2, true)}},
               {{"name", "u"}, {"sum", sum(whole, "AGGREGATION_TEMPORALITY_CUMULATIVE", false)}},
               {{"name", "d"}, {"sum", sum(whole, 1, true)}}});
  CHECK(taken.rejections.empty());
  CHECK(taken.record_count == 5);
  REQUIRE(taken.records.size() == 1);
  CHECK(taken.records[0]["source"] == "bot");
  Labels labels = kCommon;
  labels["symbol"] = "BTC";
  labels["n"] = "3";
  REQUIRE(taken.samples.size() == 5);
  for (const ReferenceSample& sample : taken.samples) {
    CHECK(sample.labels == labels);
    CHECK(sample.time_ns == 1'700'000'000'000'000'000);
  }
  CHECK(taken.samples[0].value == 0.25);
  CHECK(taken.samples[0].unit == "ms");
  CHECK(taken.samples[1].value == -42.0);
  CHECK(find(taken, "g").kind == "gauge");
  CHECK(find(taken, "c").kind == "counter");
  CHECK(find(taken, "u").kind == "gauge");
  CHECK(find(taken, "d").kind == "delta");
  CHECK(taken.records[0]["data"]["tables"][0]["resource"] == Json{{"process.pid", 77}});
}

TEST_CASE("otlp metrics: histograms and summaries", "[unit][ingest][otlp]") {
  const Json histogram{{"timeUnixNano", "5"},
                       {"count", "10"},
                       {"sum", 12.5},
                       {"bucketCounts", {"1", 2, "7"}},
                       {"explicitBounds", {0.1, 0.5}},
                       {"min", 0.01},
                       {"max", 9}};
  // scale 1: base sqrt(2). Offset 1: (2^0.5, 2^1], (2^1, 2^1.5].
  const Json exponential{{"timeUnixNano", "5"},
                         {"count", "12"},
                         {"scale", 1},
                         {"zeroCount", "2"},
                         {"positive", {{"offset", 1}, {"bucketCounts", {"3", "4"}}}},
                         {"negative", {{"offset", 0}, {"bucketCounts", {"1", "2"}}}}};
  const Json summary{
      {"timeUnixNano", "5"},
      {"count", "3"},
      {"sum", 6.5},
      {"quantileValues", {{{"quantile", 0.5}, {"value", 2}}, {{"quantile", 1}, {"value", 3.5}}}}};
  const Taken taken = metrics(
      {{{"name", "h"}, {"histogram", {{"dataPoints", {histogram}}, {"aggregationTemporality", 2}}}},
       {{"name", "e"},
        {"exponentialHistogram", {{"dataPoints", {exponential}}, {"aggregationTemporality", 1}}}},
       {{"name", "s"}, {"summary", {{"dataPoints", {summary}}}}}});
  for (const Rejection& rejection : taken.rejections) INFO(rejection.reason);
  CHECK(taken.rejections.empty());
  CHECK(find(taken, "h").kind == "histogram");
  CHECK(find(taken, "h").value == 10.0);
  CHECK(find(taken, "h").bounds == std::vector<double>{0.1, 0.5});
  CHECK(find(taken, "h").counts == std::vector<std::uint64_t>{1, 2, 7});
  CHECK(find(taken, "h_sum").value == 12.5);
  CHECK(find(taken, "h_sum").kind == "counter");
  CHECK(find(taken, "h_min").value == 0.01);
  CHECK(find(taken, "h_max").value == 9.0);
  const ReferenceSample e = find(taken, "e");
  CHECK(e.value == 12.0);
  const std::vector<double> bounds{-2.0, -std::sqrt(2.0),   -1.0, 0.0, std::sqrt(2.0),
                                   2.0,  std::pow(2.0, 1.5)};
  REQUIRE(e.bounds.size() == bounds.size());
  for (std::size_t i = 0; i < bounds.size(); ++i) CHECK(e.bounds[i] == Approx(bounds[i]));
  CHECK(e.counts == std::vector<std::uint64_t>{0, 2, 1, 2, 0, 3, 4, 0});
  CHECK(find(taken, "s_count").value == 3.0);
  CHECK(find(taken, "s_sum").value == 6.5);
  Labels labels = kCommon;
  for (const ReferenceSample& sample : taken.samples) {
    if (sample.name != "s") continue;
    const bool is_median = sample.value == 2.0;
    labels["quantile"] = is_median ? "0.5" : "1";
    CHECK(sample.labels == labels);
    CHECK((is_median || sample.value == 3.5));
  }
}

TEST_CASE("otlp metrics: exemplars keep their trace", "[unit][ingest][otlp]") {
  const Taken taken =
      metrics({{{"name", "g"},
                {"gauge",
                 {{"dataPoints",
                   {{{"timeUnixNano", "7"},
                     {"asDouble", 1.5},
                     {"exemplars",
                      {{{"asDouble", 2.5},
                        {"timeUnixNano", "6"},
                        {"traceId", "0af7651916cd43dd8448eb211c80319c"},
                        {"spanId", "b7ad6b7169203331"},
                        {"filteredAttributes",
                         {{{"key", "a"}, {"value", {{"boolValue", true}}}}}}}}}}}}}}}});
  REQUIRE(taken.records.size() == 1);
  CHECK(taken.records[0]["data"]["tables"][0]["exemplars"] ==
        Json::parse(R"([{"row":0,"column":"g","value":2.5,"time_unix_nano":6,
                         "trace_id":"0af7651916cd43dd8448eb211c80319c",
                         "span_id":"b7ad6b7169203331","attributes":{"a":true}}])"));
}

TEST_CASE("otlp metrics: a bad point is refused alone, with its pointer", "[unit][ingest][otlp]") {
  const std::string base = "/resourceMetrics/0/scopeMetrics/0/metrics/";
  const Json good{{"timeUnixNano", "5"}, {"asInt", 1}};
  const Taken taken =
      metrics({{{"name", "g"},
                {"gauge",
                 {{"dataPoints",
                   {good,
                    {{"timeUnixNano", "5"}},
                    {{"timeUnixNano", "5"}, {"asDouble", "NaN"}},
                    {{"timeUnixNano", {1}}, {"asInt", 1}},
                    {{"timeUnixNano", "18446744073709551615"}, {"asInt", 1}},
                    good}}}}},
               {{"name", "h"},
                {"histogram",
                 {{"dataPoints",
                   {{{"count", 3}, {"bucketCounts", {1, 1}}, {"explicitBounds", {1}}},
                    {{"count", 2}, {"bucketCounts", {1, 1}}, {"explicitBounds", {1, 2}}},
                    {{"count", 3}, {"bucketCounts", {1, 1, 1}}, {"explicitBounds", {2, 1}}}}}}}},
               {{"name", ""}, {"gauge", {{"dataPoints", {good}}}}}});
  const std::vector<std::pair<std::uint32_t, std::string>> expected{
      {2, "0/gauge/dataPoints/1"},
      {3, "0/gauge/dataPoints/2/asDouble"},
      {4, "0/gauge/dataPoints/3/timeUnixNano"},
      {5, "0/gauge/dataPoints/4/timeUnixNano"},
      {7, "1/histogram/dataPoints/0/bucketCounts"},
      {8, "1/histogram/dataPoints/1/bucketCounts"},
      {9, "1/histogram/dataPoints/2/explicitBounds/1"},
      {10, "2/gauge/dataPoints/0"}};
  REQUIRE(taken.rejections.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(taken.rejections[i].line == expected[i].first);
    CHECK(taken.rejections[i].json_pointer == base + expected[i].second);
    CHECK_FALSE(taken.rejections[i].reason.empty());
  }
  CHECK(taken.samples.size() == 2);
  CHECK(taken.record_count == 10);
}

TEST_CASE("otlp: damaged bodies are refused and keep what came before", "[unit][ingest][otlp]") {
  for (const std::uint32_t format : {EPHOR_FORMAT_OTLP_METRICS, EPHOR_FORMAT_OTLP_LOGS,
                                     EPHOR_FORMAT_OTLP_METRICS_JSON, EPHOR_FORMAT_OTLP_LOGS_JSON}) {
    const bool is_json = format >= EPHOR_FORMAT_OTLP_METRICS_JSON;
    CHECK(take(is_json ? "{}" : "", format).record_count == 0);
    CHECK(take("\xFF\xFF", format).rejections.size() == 1);
    CHECK(take(is_json ? "[]" : "\x0A\x05\x01", format).rejections.size() == 1);
  }
}

TEST_CASE("otlp logs: a record becomes an event that joins its trace", "[unit][ingest][otlp]") {
  const std::string body = R"({"resourceLogs":[{"resource":{"attributes":[
      {"key":"service.name","value":{"stringValue":"bot"}}]},
    "scopeLogs":[{"scope":{"name":"risk"},"logRecords":[
      {"timeUnixNano":"1700000000123456789","severityNumber":17,"severityText":"Error",
       "body":{"stringValue":"limit \"hit\""},
       "traceId":"0AF7651916CD43DD8448EB211C80319C","spanId":"b7ad6b7169203331",
       "attributes":[{"key":"order.id","value":{"stringValue":"o-1"}},
                     {"key":"correlation.id","value":{"stringValue":"c-1"}}]},
      {"observedTimeUnixNano":"1700000000000000000","severityNumber":"SEVERITY_NUMBER_WARN2",
       "body":{"kvlistValue":{"values":[
         {"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"},{"doubleValue":2.5},{"boolValue":false}]}}},
         {"key":"raw","value":{"bytesValue":"AAEC"}}]}}},
      {"body":{}},
      {"traceId":"abcd","body":{"stringValue":"x"}},
      {"severityNumber":{},"body":{"stringValue":"x"}}]}]}]})";
  const Taken taken = take(body, EPHOR_FORMAT_OTLP_LOGS_JSON);
  REQUIRE(taken.records.size() == 3);
  CHECK(taken.record_count == 5);
  const Json& first = taken.records[0];
  CHECK(first["type"] == "ephor.log");
  CHECK(first["source"] == "bot");
  CHECK(first["time"] == "2023-11-14T22:13:20.123456789Z");
  CHECK(first["correlationid"] == "c-1");
  CHECK(first["data"]["severity"] == "Error");
  CHECK(first["data"]["severity_number"] == 17);
  CHECK(first["data"]["body"] == "limit \"hit\"");
  CHECK(first["data"]["logger"] == "risk");
  CHECK(first["data"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c");
  CHECK(first["data"]["span_id"] == "b7ad6b7169203331");
  CHECK(first["data"]["order_id"] == "o-1");
  CHECK(first["data"]["resource"] == Json{{"service.name", "bot"}});
  CHECK(taken.events[0].trace_id[0] == 0x0A);
  CHECK(taken.events[0].trace_id[15] == 0x9C);
  CHECK(taken.events[0].correlation == hash64("c-1"));
  CHECK(has_join(taken, JoinKind::trace, "0af7651916cd43dd8448eb211c80319c"));
  CHECK(has_join(taken, JoinKind::order, "o-1"));
  CHECK(taken.records[1]["data"]["severity"] == "WARN");
  CHECK(taken.records[1]["data"]["body"] == Json::parse(R"({"list":[1,2.5,false],"raw":"AAEC"})"));
  CHECK(taken.records[1]["time"] == "2023-11-14T22:13:20Z");
  CHECK(taken.records[2]["data"]["severity"] == "UNSPECIFIED");
  CHECK(taken.records[2]["data"]["body"].is_null());
  CHECK((taken.events[2].flags & EPHOR_EVENT_TIME_ARRIVAL) != 0);
  const std::string base = "/resourceLogs/0/scopeLogs/0/logRecords/";
  REQUIRE(taken.rejections.size() == 2);
  CHECK(taken.rejections[0].line == 4);
  CHECK(taken.rejections[0].json_pointer == base + "3/traceId");
  CHECK(taken.rejections[1].line == 5);
  CHECK(taken.rejections[1].json_pointer == base + "4/severityNumber");
  // Sent again it is the same; a line that was written twice is two.
  CHECK(take(body, EPHOR_FORMAT_OTLP_LOGS_JSON).records[0]["id"] == first["id"]);
  const std::string twice =
      R"({"resource_logs":[{"scope_logs":[{"log_records":[{"body":{"stringValue":"a"},"timeUnixNano":"1"},
      {"body":{"stringValue":"a"},"time_unix_nano":1}]}]}]})";
  const Taken two = take(twice, EPHOR_FORMAT_OTLP_LOGS_JSON);
  REQUIRE(two.records.size() == 2);
  CHECK(two.records[0]["id"] != two.records[1]["id"]);
}
