// SPDX-License-Identifier: Apache-2.0
//
// The optional headers that plugins share. Expected values: arithmetic by hand, std::set as the
// second implementation of IdSet, the fake host's reader as that of the times, and the published
// XXH3 test vectors.
#include <cstdint>
#include <ephor/events.hpp>
#include <ephor/id_set.hpp>
#include <ephor/json.hpp>
#include <ephor/ledger.hpp>
#include <ephor/testing/cloud_event.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "support/catch.hpp"

using namespace ephor;

namespace {

// An event of `data`, whose text must outlive it and leaves simdjson the bytes it reads ahead.
Event event_of(std::string& record, std::string_view data) {
  record = R"({"data":)" + std::string(data) + "}";
  Event event{};
  event.record_length = static_cast<std::uint32_t>(record.size());
  event.data_offset = 8;
  event.encoding = EPHOR_ENCODING_JSON;
  record.append(simdjson::SIMDJSON_PADDING, '\0');
  event.record = record.data();
  return event;
}

}  // namespace

TEST_CASE("times: there and back", "[unit][sdk]") {
  CHECK(parse_time("1970-01-01T00:00:01Z") == 1'000'000'000);
  CHECK(parse_time("2017-11-07T06:29:00.072608193Z") == 1'510'036'140'072'608'193);
  CHECK(parse_time("2017-11-07t06:29:00.0726081939z") == 1'510'036'140'072'608'193);
  CHECK(parse_time("2017-11-07 08:29:00.5+02:00") == 1'510'036'140'500'000'000);
  CHECK(parse_time("2017-11-07T01:59:00.5-04:30") == 1'510'036'140'500'000'000);
  CHECK(parse_time("2017-11-07T06:29:00") == 1'510'036'140'000'000'000);
  CHECK(parse_time("2017-11-07") == 1'510'012'800'000'000'000);
  CHECK(parse_time("2016-12-31T23:59:60Z") == parse_time("2017-01-01T00:00:00Z"));
  for (const char* bad :
       {"", "yesterday", "2017-13-01", "2017-02-30", "2017-11-07T25:00:00", "2017-11-07T06:29",
        "2017-11-07T06:29:00x", "2017-11-07T06:29:00.", "2017-11-07T06:29:00+2:00",
        "2017-11-07T06:29:00ZZ", "1677-12-31", "2262-01-01"}) {
    INFO(bad);
    CHECK_FALSE(parse_time(bad));
  }
  CHECK(format_time(1'510'036'140'072'608'193) == "2017-11-07T06:29:00.072608193Z");
  CHECK(format_time(1'510'036'140'500'000'000) == "2017-11-07T06:29:00.500000000Z");
  CHECK(format_time(0) == "1970-01-01T00:00:00Z");
  CHECK(format_time(-1) == "1969-12-31T23:59:59.999999999Z");
  // The ends of the range, as an arbitrary state may hold them.
  CHECK(format_time(INT64_MAX) == "2262-04-11T23:47:16.854775807Z");
  CHECK(format_time(INT64_MIN) == "1677-09-21T00:12:43.145224192Z");
  CHECK(to_milliseconds(2'500'000) == 2.5);
}

TEST_CASE("times: the shortest fraction loses trailing zeros only", "[unit][sdk]") {
  constexpr auto kShortest = TimeFraction::shortest;
  CHECK(format_time(0, kShortest) == "1970-01-01T00:00:00Z");
  CHECK(format_time(10'000'000'000, kShortest) == "1970-01-01T00:00:10Z");
  CHECK(format_time(1'510'036'140'500'000'000, kShortest) == "2017-11-07T06:29:00.5Z");
  CHECK(format_time(1'510'036'140'088'320'680, kShortest) == "2017-11-07T06:29:00.08832068Z");
  CHECK(format_time(1'510'036'140'088'320'685, kShortest) == "2017-11-07T06:29:00.088320685Z");
  CHECK(format_time(INT64_MIN, kShortest) == "1677-09-21T00:12:43.145224192Z");
}

TEST_CASE("times: agree with the fake host's", "[unit][sdk]") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    auto ns = static_cast<std::int64_t>(random() % 9'000'000'000'000'000'000ULL);
    if (i % 2 == 0) ns = -ns;
    if (i % 3 == 0) ns -= ns % 1'000'000'000;
    INFO(ns);
    REQUIRE(format_time(ns) == testing::rfc3339(ns));
    REQUIRE(parse_time(format_time(ns)) == ns);
    REQUIRE(parse_time(format_time(ns, TimeFraction::shortest)) == ns);
    REQUIRE(testing::parse_rfc3339(format_time(ns))->time_ns == ns);
  }
}

// xxHash's own sanity test and its bindings publish these (XXH3, 64 bits, seed 0).
TEST_CASE("text hash: XXH3 as published, for ever", "[unit][sdk]") {
  CHECK(hash64("") == 0x2D06800538D394C2ULL);
  CHECK(hash64("a") == 0xE6C632B61E964E1FULL);
  CHECK(hash64("abc") == 0x78AF5F94892F3950ULL);
  CHECK(hash64("corr-1") == testing::correlation_hash("corr-1"));
  std::unordered_map<std::string, int, TextHash, std::equal_to<>> map{{"one", 1}};
  CHECK(map.find(std::string_view("one"))->second == 1);
  CHECK(map.find(std::string_view("two")) == map.end());
}

TEST_CASE("ids: counted to the limit, then said to be inexact", "[unit][sdk]") {
  IdSet ids(3);
  for (const std::uint64_t id : {1ULL, 2ULL, 2ULL, 3ULL, 1ULL}) ids.insert(id);
  REQUIRE(ids.size() == 3);
  REQUIRE(ids.is_exact());
  REQUIRE_FALSE(ids.may_contain(4));
  REQUIRE_FALSE(ids.insert(4));
  REQUIRE_FALSE(ids.is_exact());
  REQUIRE(ids.may_contain(5));
}

TEST_CASE("ids: chunks restore the set, and only changed ones are written", "[unit][sdk]") {
  IdSet ids(1'000'000);
  std::mt19937_64 random(1);
  std::map<std::int64_t, std::string> rows;
  std::set<std::uint64_t> expected;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 5000; ++i) {
      const std::uint64_t id = random();
      expected.insert(id);
      ids.insert(id);
    }
    int written = 0;
    ids.save_chunks([&](std::int64_t chunk, std::string_view bytes) {
      rows[chunk] = bytes;
      ++written;
    });
    REQUIRE(written <= 2);
  }
  IdSet read(1'000'000);
  for (const auto& [chunk, bytes] : rows) REQUIRE(read.load_chunk(chunk, bytes, expected.size()));
  REQUIRE(read.size() == expected.size());
  for (const std::uint64_t id : expected) REQUIRE(read.may_contain(id));
  // A state older than the rows: what came later is not read.
  IdSet older(1'000'000);
  for (const auto& [chunk, bytes] : rows) REQUIRE(older.load_chunk(chunk, bytes, 10'000));
  REQUIRE(older.size() == 10'000);
  REQUIRE_FALSE(older.load_chunk(7, "12345678", 1'000'000));
}

TEST_CASE("ledger: only what is certainly saved leaves memory", "[unit][sdk]") {
  Ledger<int> ledger(3);
  for (int i = 0; i < 10; ++i) {
    ledger.insert(static_cast<std::uint64_t>(i), i);
    ledger.mark_changed(static_cast<std::uint64_t>(i));
  }
  REQUIRE(ledger.size() == 10);  // nothing saved yet
  std::set<int> written;
  ledger.save([&](int value) { written.insert(value); });
  REQUIRE(written.size() == 10);
  REQUIRE(ledger.size() == 10);  // written, but perhaps not yet committed
  *ledger.find(9) = 99;
  ledger.mark_changed(9);
  written.clear();
  ledger.save([&](int value) { written.insert(value); });
  REQUIRE(written == std::set<int>{99});
  REQUIRE(ledger.size() <= 3);
  REQUIRE(ledger.find(0) == nullptr);
  REQUIRE(ledger.find(9) != nullptr);
}

TEST_CASE("ledger: a record read back may leave, a changed one may not", "[unit][sdk]") {
  Ledger<int> ledger(2);
  ledger.save([](int) {});
  for (int i = 0; i < 5; ++i) {
    ledger.insert(static_cast<std::uint64_t>(i), i);  // its row is there: never marked
    CHECK(ledger.size() <= 2);
  }
  CHECK(ledger.evicted() == 3);
  CHECK(ledger.find(3) != nullptr);
  ledger.mark_changed(3);
  ledger.insert(5, 5);
  ledger.insert(6, 6);
  REQUIRE(ledger.find(3) != nullptr);  // the oldest waits for a save, and others behind it
  std::string order;
  ledger.for_each([&](int value) { order += std::to_string(value); });
  CHECK(order == "3456");
}

TEST_CASE("events: a trade's close under either name", "[unit][sdk]") {
  EventReader reader;
  std::string record;
  const Trade client =
      reader.trade(event_of(record, R"({"trade_id":"t","close_timestamp":"2025-03-28T08:37:00"})"));
  CHECK(client.close_time == "2025-03-28T08:37:00");
  const Trade own = reader.trade(event_of(
      record,
      R"({"trade_id":"t","close_time":"2025-03-28","stop_loss":1.5,"take_profit":2,"size":3})"));
  CHECK(own.close_time == "2025-03-28");
  CHECK(own.stop_loss == 1.5);
  CHECK(own.take_profit == 2.0);
  CHECK(own.quantity == 3.0);
  CHECK(own.open_time.empty());
}

TEST_CASE("events: a JSON span's service, attributes, events and links", "[unit][sdk]") {
  EventReader reader(
      [](std::uint32_t number) -> std::string_view { return number == 7 ? "the source" : ""; });
  std::string record;
  const std::string ids = R"({"trace_id":"t","span_id":"s","component":"c","operation":"o",)";
  Event event = event_of(record, ids + R"("attributes":{"a":"x","i":-3,"n":1.5,"b":true,"l":[1,"2"],
      "service.name":"checkout"},"events":[{"name":"e","time_unix_nano":"12","attributes":{"k":1}}],
      "links":[{"trace_id":"t2","span_id":"s2","attributes":{}}],
      "resource":{"service.name":"another"}})");
  event.source = 7;
  const Span span = reader.span(event);
  CHECK(span.service == "checkout");
  CHECK(span.component == "c");
  std::string all;
  span.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
    all += std::string(name) + "=" + value.to_text() + ";";
  });
  CHECK(all == "a=x;i=-3;n=1.5;b=true;l=[1,\"2\"];service.name=checkout;");
  REQUIRE(span.attribute("i"));
  CHECK(span.attribute("i")->kind == AttributeValue::Kind::integer);
  CHECK(span.attribute("i")->integer == -3);
  CHECK_FALSE(span.attribute("none"));
  int count = 0;
  span.for_each_event([&](const SpanEvent& one) {
    CHECK(one.name == "e");
    CHECK(one.time_ns == 12);
    CHECK(one.attributes.attribute("k")->integer == 1);
    ++count;
  });
  span.for_each_link([&](const SpanLink& one) {
    CHECK(one.trace_id == "t2");
    CHECK(one.span_id == "s2");
    ++count;
  });
  CHECK(count == 2);

  Event in_resource = event_of(record, ids + R"("resource":{"service.name":"another"}})");
  CHECK(reader.span(in_resource).service == "another");
  Event bare = event_of(record, ids + R"("kind":"client"})");
  bare.source = 7;
  CHECK(reader.span(bare).service == "the source");
  CHECK_FALSE(reader.span(bare).attribute("a"));
}

TEST_CASE("json: a request is nested so deep and no deeper", "[unit][sdk]") {
  const auto nested = [](int levels) {
    return "{\"a\":" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
  };
  CHECK(json_depth("") == 0);
  CHECK(json_depth("[{\"[[\\\"[\":[]},[]]") == 3);  // brackets in strings do not count
  CHECK(parse_json(nested(kJsonDepthMax), "it")["a"].is_array());
  CHECK_THROWS_AS(parse_json(nested(kJsonDepthMax + 1), "it"), Error);
  CHECK_THROWS_AS(parse_json(nested(4'000'000), "it"), Error);
}

TEST_CASE("json: what is not known is null", "[unit][sdk]") {
  CHECK(text_or_null("").is_null());
  CHECK(text_or_null("x") == "x");
  CHECK(time_or_null(std::nullopt).is_null());
  CHECK(time_or_null(0) == "1970-01-01T00:00:00Z");
  CHECK(json_or_null("").is_null());
  CHECK(json_or_null("[1]") == Json::array({1}));
  CHECK(json_or_null("[1").is_discarded());
}

TEST_CASE("store_error: texts are UTF-8, whole and terminated", "[unit][sdk]") {
  const auto stored = [](std::string_view message) {
    ephor_error error{};
    error.struct_size = sizeof error;
    REQUIRE(store_error(&error, EPHOR_IO, message) == EPHOR_IO);
    return std::string(error.message);
  };
  // What is UTF-8 stays as it is: the shortest and longest characters of each size.
  const std::string good =
      "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  REQUIRE(stored(good) == good);
  // Longer forms, surrogates, beyond U+10FFFF, a lone byte, an end in the middle.
  REQUIRE(stored("\xC0\xAF") == "??");
  REQUIRE(stored("\xE0\x80\xAF") == "???");
  REQUIRE(stored("\xED\xA0\x80") == "???");
  REQUIRE(stored("\xF4\x90\x80\x80") == "????");
  REQUIRE(stored("a\xFFz") == "a?z");
  REQUIRE(stored("a\xE2\x82") == "a??");
  // Cut between two characters: 760 bytes hold 253 of three and the NUL.
  std::string many;
  for (int i = 0; i < 300; ++i) many += "\xE2\x82\xAC";
  REQUIRE(stored(many) == many.substr(0, 253 * 3));
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 900, ' ');
    for (char& byte : bytes)
      byte = static_cast<char>(random() % 4 == 0 ? 0x80 + random() % 128 : 'a');
    const std::string text = stored(bytes);
    REQUIRE(simdjson::validate_utf8(text));
    REQUIRE(text.size() <= 759);
  }
}
