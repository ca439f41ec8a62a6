// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>

#include "ingest/envelope.hpp"
#include "ingest/json_text.hpp"
#include "ingest_support.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using namespace ephor::host::test;

namespace {

struct Fixture {
  explicit Fixture(IngestConfig given = {})
      : config(std::move(given)), rules(config.join_attributes) {}

  bool describe(const std::string& record, std::int64_t arrived_ns = kArrivedNs) {
    buffer = buffer_of(record);
    simdjson::dom::element root;
    fault = {};
    return describer.parse(buffer.view(), root, fault) &&
           describer.describe(buffer.view(), root, arrived_ns, joins, event, id, fault);
  }

  IngestConfig config;
  EventRules rules;
  Names names;
  Describer describer{config, rules, names};
  Buffer buffer;
  JoinKeys joins;
  ephor_event event{};
  Hash128 id;
  Fault fault;
};

std::string event_text(const std::string& members) {
  return R"({"specversion":"1.0","id":"1","source":"s","type":"t")" + members + "}";
}

}  // namespace

TEST_CASE("describe: fills the descriptor", "[unit][ingest]") {
  Fixture fixture;
  const std::string record = event_text(
      R"(,"time":"1970-01-01T00:00:01.5Z","correlationid":"c","traceparent":"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"trade_id":"x"})");
  REQUIRE(fixture.describe(record));
  const ephor_event& event = fixture.event;
  CHECK(event.sequence == 0);
  CHECK(event.time_ns == 1'500'000'000);
  CHECK(event.flags == 0);
  CHECK(event.encoding == EPHOR_ENCODING_JSON);
  CHECK(record_of(event) == record);
  CHECK(data_of(event) == R"({"trade_id":"x"}})");
  CHECK(event.correlation == hash64("c"));
  const std::uint8_t trace[16] = {0x0A, 0xF7, 0x65, 0x19, 0x16, 0xCD, 0x43, 0xDD,
                                  0x84, 0x48, 0xEB, 0x21, 0x1C, 0x80, 0x31, 0x9C};
  CHECK(std::memcmp(event.trace_id, trace, 16) == 0);
  CHECK(fixture.names.topics.name(event.topic) == "t");
  CHECK(fixture.names.sources.name(event.source) == "s");
  CHECK(fixture.id == identity_hash("s", "1"));
  CHECK(fixture.joins.take_sorted() == [] {
    std::vector<std::uint64_t> keys = {
        join_key(JoinKind::correlation, hash64("c")), join_key(JoinKind::trade, hash64("x")),
        join_key(JoinKind::trace, hash64("0af7651916cd43dd8448eb211c80319c"))};
    std::sort(keys.begin(), keys.end());
    return keys;
  }());
}

TEST_CASE("describe: time is as told, assumed, clamped or that of the arrival", "[unit][ingest]") {
  IngestConfig config;
  config.assumed_offset_ns = 7'200'000'000'000;
  Fixture fixture(config);
  REQUIRE(fixture.describe(event_text(R"(,"time":"1970-01-01T03:00:00")")));
  CHECK(fixture.event.time_ns == 3'600'000'000'000);
  CHECK(fixture.event.flags == EPHOR_EVENT_TIME_NAIVE);
  REQUIRE(fixture.describe(event_text("")));
  CHECK(fixture.event.time_ns == kArrivedNs);
  CHECK(fixture.event.flags == EPHOR_EVENT_TIME_ARRIVAL);
  REQUIRE(fixture.describe(event_text(R"(,"time":null)")));
  CHECK(fixture.event.flags == EPHOR_EVENT_TIME_ARRIVAL);
  // 1 h is 3.6e12 ns; the bound is 300 s after the arrival, itself still allowed.
  const std::string at_one = event_text(R"(,"time":"1970-01-01T01:00:00Z")");
  REQUIRE(fixture.describe(at_one, 3'600'000'000'000 - 300'000'000'000));
  CHECK(fixture.event.flags == 0);
  REQUIRE(fixture.describe(at_one, 3'600'000'000'000 - 300'000'000'001));
  CHECK(fixture.event.time_ns == 3'299'999'999'999);
  CHECK(fixture.event.flags == EPHOR_EVENT_TIME_CLAMPED);
}

TEST_CASE("describe: the fast way to data and the scanner agree", "[unit][ingest]") {
  const std::string members[] = {
      R"(,"data":1)",
      R"(,"data" : 1)",
      R"(, "data":1)",
      R"(,"x":"\"data\":2","data":1)",
      R"(,"x":"a\u0041","data":1)",
      R"(,"x":{"data":3},"data":1)",
      R"(,"x":5,"data":1)",
      R"(,"x":",","data":1)",
      R"(,"d\u0061ta":1)",
      R"(,"data":{"data":2})",
      R"(,"d\u0061ta":{"x":"a","data":2})",
      R"(,"x":"é","data":1)",
  };
  Fixture fixture;
  for (const std::string& member : members) {
    const std::string record = event_text(member);
    REQUIRE(fixture.describe(record));
    CHECK(fixture.event.data_offset == data_offset_of(record));
  }
  REQUIRE(fixture.describe(event_text("")));
  CHECK(fixture.event.data_offset == fixture.event.record_length);
}

TEST_CASE("describe: traces come from traceparent, else from the span", "[unit][ingest]") {
  const auto span = [](const std::string& head, const std::string& trace) {
    return R"({"specversion":"1.0","id":"1","source":"s","type":"ephor.span")" + head +
           R"(,"data":{"trace_id":")" + trace +
           R"(","span_id":"b","component":"c","operation":"o","start_time_unix_nano":1,"end_time_unix_nano":1}})";
  };
  const std::string id = "0af7651916cd43dd8448eb211c80319c";
  Fixture fixture;
  REQUIRE(fixture.describe(span("", id)));
  CHECK(hex(std::span(fixture.event.trace_id)) == id);
  REQUIRE(fixture.describe(span("", "foreign")));
  const Hash128 hash = hash128("foreign");
  CHECK(fixture.event.trace_id[0] == (hash.high >> 56));
  CHECK(fixture.event.trace_id[15] == (hash.low & 0xFF));
  // Not valid by W3C: all zero, wrong version, wrong length. The event stays, without that trace.
  for (const char* bad : {"00-00000000000000000000000000000000-b7ad6b7169203331-01",
                          "ff-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01", "00-12", ""}) {
    REQUIRE(fixture.describe(span(R"(,"traceparent":")" + std::string(bad) + '"', id)));
    CHECK(hex(std::span(fixture.event.trace_id)) == id);
  }
  REQUIRE(fixture.describe(event_text("")));
  CHECK(hex(std::span(fixture.event.trace_id)) == std::string(32, '0'));
}

TEST_CASE("describe: a record read back gives the same descriptor", "[unit][ingest]") {
  Fixture fixture;
  const std::string record =
      event_text(R"(,"time":"1970-01-01T00:00:01","correlationid":"c","data":{"order_id":"o"})");
  REQUIRE(fixture.describe(record));
  ephor_event again{};
  REQUIRE(fixture.describer.redescribe(
      fixture.buffer.view(), {fixture.event.time_ns, fixture.event.encoding, fixture.event.flags},
      again));
  CHECK(std::memcmp(&again, &fixture.event, sizeof again) == 0);
  const Buffer garbage = buffer_of("[1]");
  CHECK_FALSE(fixture.describer.redescribe(garbage.view(), {}, again));
}

TEST_CASE("describe: refuses what breaks a bound, and interns nothing of it", "[unit][ingest]") {
  IngestConfig config;
  config.record_bytes_max = 1024;
  config.depth_max = 8;
  Fixture fixture(config);
  CHECK_FALSE(fixture.describe(event_text(",\"x\":\"" + std::string(1024, 'x') + "\"")));
  CHECK(fixture.fault.reason.find("expected at most 1024") != std::string::npos);
  CHECK_FALSE(fixture.describe(event_text(R"(,"data":[[[[[[[[1]]]]]]]])")));
  CHECK(fixture.fault.reason == "found nesting deeper than 8 levels, expected less");
  CHECK_FALSE(fixture.describe(event_text(R"(,"data":1,"data":2)")));
  CHECK(fixture.fault.json_pointer == "/data");
  CHECK_FALSE(fixture.describe(event_text(R"(,"correlationid":"a\nb")")));
  CHECK(fixture.fault.json_pointer == "/correlationid");
  CHECK_FALSE(fixture.describe(
      R"({"specversion":"1.0","id":"1","source":"new","type":"ephor.metric","data":{}})"));
  const auto counts = std::pair(fixture.names.topics.count(), fixture.names.sources.count());
  CHECK(counts == std::pair(2U, 2U));  // "" and the overflow name
}

TEST_CASE("topics: tokens joined by dots", "[unit][ingest]") {
  for (const char* good : {"a", "a.b", "ephor.span", "x-y.z_1"}) CHECK(is_topic(good));
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "a\n"}) {
    CHECK_FALSE(is_topic(bad));
  }
  CHECK_FALSE(is_topic(std::string(257, 'a')));
}

TEST_CASE("ids: foreign ones map to W3C ids, W3C ids stay", "[unit][ingest]") {
  CHECK(span_id_of("00F067AA0ba902b7") == "00f067aa0ba902b7");
  CHECK(span_id_of("span-1").size() == 16);
  CHECK(span_id_of("span-1") != span_id_of("span-2"));
  CHECK(hex(trace_id_of("corr-1")).size() == 32);
}
