// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "ingest/door.hpp"
#include "ingest_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::host::test;

namespace {

std::string event(const std::string& id) {
  return R"({"specversion":"1.0","id":")" + id + R"(","source":"s","type":"t","data":1})";
}

Arrival admit(const std::string& body, std::uint32_t format = EPHOR_FORMAT_AUTO) {
  static Names names;
  static Door door(IngestConfig(), names);
  return door.admit(buffer_of(body), admission(format));
}

std::vector<std::uint32_t> rejected_lines(const Arrival& arrival) {
  std::vector<std::uint32_t> lines;
  for (const Rejection& rejection : arrival.rejections) lines.push_back(rejection.line);
  return lines;
}

using Lines = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("door: takes our own events", "[unit][ingest]") {
  const Arrival arrival = admit(slurp(ephor::testing::test_data("ingest/events.ndjson")));
  for (const Rejection& rejection : arrival.rejections) {
    UNSCOPED_INFO(rejection.line << " " << rejection.json_pointer << " " << rejection.reason);
  }
  CHECK(arrival.rejected_count == 0);
  REQUIRE(arrival.event_count == 8);
  const std::vector<ephor_event>& events = arrival.batches[0].batch->events;
  CHECK(data_of(events[2]).substr(0, 12) == R"({"features":)");
  CHECK(data_of(events[3]).substr(0, 19) == R"({ "prediction_id" :)");
  CHECK(events[3].flags == EPHOR_EVENT_TIME_ARRIVAL);
  CHECK(data_of(events[4]).substr(0, 14) == R"({"decision_id")");
  CHECK(events[4].flags == EPHOR_EVENT_TIME_NAIVE);
  CHECK(events[2].time_ns == 1510036200000000000);  // 2017-11-07T06:30:00Z (date -d)
  // Line 3 is blank: groups keep the numbers of the lines.
  CHECK(arrival.batches[0].records[2].line == 4);
}

TEST_CASE("door: each bad line has its own error", "[unit][ingest]") {
  const auto expected =
      nlohmann::json::parse(slurp(ephor::testing::test_data("ingest/bad_events.expected.json")));
  const Arrival arrival = admit(slurp(ephor::testing::test_data("ingest/bad_events.ndjson")));
  CHECK(arrival.event_count == 0);
  REQUIRE(arrival.rejections.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Rejection& found = arrival.rejections[i];
    INFO(found.line << " " << found.reason);
    CHECK(found.line == expected[i]["line"]);
    CHECK(found.json_pointer == expected[i]["pointer"].get<std::string>());
    CHECK(found.reason.find(expected[i]["reason"].get<std::string>()) != std::string::npos);
  }
}

TEST_CASE("door: lines may be blank, end in CR, or lack the last newline", "[unit][ingest]") {
  const Arrival arrival = admit("\xEF\xBB\xBF" + event("1") + "\r\n\r\n \t\n" + event("2") +
                                "\nrubbish\n" + event("3"));
  CHECK(arrival.event_count == 3);
  CHECK(arrival.record_count == 4);
  CHECK(rejected_lines(arrival) == Lines{5});
  const Arrival none = admit("\n\n");
  CHECK(none.batches.empty());
  CHECK(none.record_count == 0);
  CHECK(admit("").record_count == 0);
}

TEST_CASE("door: invalid UTF-8 and NUL bytes are refused alone", "[unit][ingest]") {
  const std::string nul("{\"a\":\0}", 7);
  const Arrival arrival = admit(event("\xC3\x28") + "\n" + nul + "\n" + event("ok") + "\n");
  CHECK(rejected_lines(arrival) == Lines{1, 2});
  CHECK(arrival.event_count == 1);
}

TEST_CASE("door: a single object may hold newlines", "[unit][ingest]") {
  const std::string pretty =
      "\n{\n\"specversion\": \"1.0\",\n\"id\": \"1\", \"source\": \"s\",\n\"type\": \"t\"\n}\n";
  for (const std::uint32_t format : {EPHOR_FORMAT_AUTO, EPHOR_FORMAT_SINGLE}) {
    const Arrival arrival = admit(pretty, format);
    CHECK(arrival.event_count == 1);
    CHECK(arrival.batches[0].batch->events[0].data_offset ==
          arrival.batches[0].batch->events[0].record_length);
  }
  CHECK(admit(" ", EPHOR_FORMAT_SINGLE).rejected_count == 1);
  CHECK(admit(event("1") + event("2"), EPHOR_FORMAT_SINGLE).rejected_count == 1);
}

TEST_CASE("door: elements of an array are records", "[unit][ingest]") {
  const Arrival good = admit(" [ " + event("1") + " ,\n" + event("2") + "] \n");
  CHECK(good.event_count == 2);
  CHECK(good.rejected_count == 0);
  CHECK(good.batches[0].records[1].line == 2);
  CHECK(record_of(good.batches[0].batch->events[1]) == event("2"));
  CHECK(admit("[]").record_count == 0);
  // A record that breaks a rule is refused alone ...
  const Arrival bad_record = admit("[" + event("1") + ",7," + event("3") + "]");
  CHECK(bad_record.event_count == 2);
  CHECK(rejected_lines(bad_record) == Lines{2});
}

TEST_CASE("door: a broken array keeps what stands before the fault", "[unit][ingest]") {
  const std::string one = event("1");
  const auto check = [&](const std::string& body, std::uint32_t events, Lines lines) {
    INFO(body);
    const Arrival arrival = admit(body, EPHOR_FORMAT_BATCH);
    CHECK(arrival.event_count == events);
    CHECK(rejected_lines(arrival) == lines);
  };
  check("[" + one + ",{\"a\":}," + one + "]", 1, {2});
  check("[" + one + "," + one, 2, {3});
  check("[" + one + ",{\"a\":", 1, {2});
  check("[" + one + ",]", 1, {2});
  check("[" + one + " " + one + "]", 1, {2});
  check("[" + one + "]]", 1, {2});
  check("[,]", 0, {1});
  check("[", 0, {1});
  check("[]x", 0, {1});
  check(one, 0, {1});
}

TEST_CASE("door: a body of more events than a batch holds becomes several", "[unit][ingest]") {
  constexpr std::uint32_t kCount = 2 * kArrivedEventsMax + 10;
  for (const std::uint32_t format : {EPHOR_FORMAT_LINES, EPHOR_FORMAT_BATCH}) {
    std::string body = format == EPHOR_FORMAT_BATCH ? "[" : "";
    for (std::uint32_t i = 0; i < kCount; ++i) {
      if (i > 0) body += format == EPHOR_FORMAT_BATCH ? "," : "\n";
      body += event(std::to_string(i));
    }
    if (format == EPHOR_FORMAT_BATCH) body += "]";
    const Arrival arrival = admit(body, format);
    REQUIRE(arrival.batches.size() == 3);
    CHECK(arrival.record_count == kCount);
    CHECK(arrival.event_count == kCount);
    CHECK(arrival.rejected_count == 0);
    CHECK(arrival.batches[0].batch->events.size() == kArrivedEventsMax);
    CHECK(arrival.batches[2].records.back().line == kCount);
    CHECK(record_of(arrival.batches[1].batch->events[0]) ==
          event(std::to_string(kArrivedEventsMax)));
    CHECK(arrival.batches[2].batch->ids.back() == identity_hash("s", std::to_string(kCount - 1)));
  }
}

TEST_CASE("door: a client record never straddles two batches", "[unit][ingest]") {
  std::string body;
  for (std::uint32_t i = 0; i + 1 < kArrivedEventsMax; ++i) body += event(std::to_string(i)) + "\n";
  body +=
      R"({"type":"ensemble_decision","decision_id":"d","ensemble_decision":{"primary_prediction":"x","individual_predictions":{"a":1,"b":2}}})";
  const Arrival arrival = admit(body);
  REQUIRE(arrival.batches.size() == 2);
  CHECK(arrival.batches[0].batch->events.size() == kArrivedEventsMax - 1);
  CHECK(arrival.batches[1].records[0].event_count == 3);
  CHECK(arrival.batches[1].records[0].line == kArrivedEventsMax);
}

TEST_CASE("door: a refused client record leaves nothing behind", "[unit][ingest]") {
  // The second prediction breaks a rule after the first two events were made.
  const Arrival arrival = admit(
      event("1") + "\n" +
      R"({"type":"ensemble_decision","decision_id":"d","ensemble_decision":{"primary_prediction":"x","individual_predictions":[{"model_id":"a","prediction":1},{"model_id":"b","prediction":[]}]}})" +
      "\n" + event("2"));
  CHECK(arrival.event_count == 2);
  REQUIRE(arrival.rejections.size() == 1);
  CHECK(arrival.rejections[0].json_pointer ==
        "/ensemble_decision/individual_predictions/1/prediction");
  CHECK(arrival.batches[0].batch->join_keys.empty());
  CHECK(arrival.batches[0].batch->ids.size() == 2);
}

TEST_CASE("door: made events live in the batch's own buffers", "[unit][ingest]") {
  std::string body;
  for (int i = 0; i < 500; ++i) {
    body += R"({"type":"outcome","decision_id":"d)" + std::to_string(i) +
            R"(","actual_outcome":1})" + "\n";
  }
  const Arrival arrival = admit(body);
  REQUIRE(arrival.batches.size() == 1);
  const Batch& batch = *arrival.batches[0].batch;
  CHECK(batch.join_keys.size() == 500);
  for (const ephor_event& made : batch.events) {
    bool is_inside = false;
    for (const Buffer& buffer : batch.buffers) {
      is_inside = is_inside || (made.record >= buffer.data() &&
                                made.record + made.record_length <= buffer.data() + buffer.size());
    }
    REQUIRE(is_inside);
  }
  CHECK(
      record_of(batch.events[499]) ==
      R"({"specversion":"1.0","id":"outcome:d499","source":"unknown","type":"ephor.outcome","data":{"actual":1,"decision_id":"d499"}})");
}

TEST_CASE("door: first_line shifts the numbers of lines", "[unit][ingest]") {
  Names names;
  Door door(IngestConfig(), names);
  Admission given = admission(EPHOR_FORMAT_LINES);
  given.first_line = 101;
  given.default_source = "ares";
  const Arrival arrival =
      door.admit(buffer_of("x\n" + event("1") + "\n{\"type\":\"drift_alert\",\"n\":1}\n"), given);
  CHECK(rejected_lines(arrival) == Lines{101});
  CHECK(arrival.batches[0].records[0].line == 102);
  CHECK(names.sources.name(arrival.batches[0].batch->events[1].source) == "ares");
}

TEST_CASE("door: rejections beyond the bound are counted only", "[unit][ingest]") {
  std::string body;
  for (std::size_t i = 0; i < kRejectionsMax + 5; ++i) body += "x\n";
  const Arrival arrival = admit(body);
  CHECK(arrival.rejections.size() == kRejectionsMax);
  CHECK(arrival.rejected_count == kRejectionsMax + 5);
}

TEST_CASE("door: many threads get what one gets", "[unit][ingest]") {
  const std::string body = slurp(ephor::testing::test_data("ingest/client.ndjson")) +
                           slurp(ephor::testing::test_data("ingest/events.ndjson"));
  const Arrival alone = admit(body);
  Names names;
  Door door(IngestConfig(), names);
  std::vector<Arrival> arrivals(4);
  std::vector<std::thread> threads;
  for (Arrival& arrival : arrivals) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) arrival = door.admit(buffer_of(body), admission());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Arrival& arrival : arrivals) {
    CHECK(arrival.event_count == alone.event_count);
    CHECK(arrival.batches[0].batch->ids == alone.batches[0].batch->ids);
    CHECK(arrival.batches[0].batch->join_keys == alone.batches[0].batch->join_keys);
  }
}

TEST_CASE("door: nobody outside speaks for the host or for a plugin", "[unit][ingest]") {
  const auto line = [](const std::string& source, const std::string& type, int id) {
    return R"({"specversion":"1.0","id":")" + std::to_string(id) + R"(","source":")" + source +
           R"(","type":")" + type + R"(","data":{}})" + "\n";
  };
  const std::string body = line("bot", "x", 1) + line("ephor/alerter", "x", 2) +
                           line("ephor", "x", 3) + line("ephors", "x", 4) +
                           line("bot", "ephor.tick", 5) + line("ephor/reporter", "x", 6) +
                           line("bot", "ephor.flush", 7) + line("bot", "x", 8);
  Names names;
  Door door(IngestConfig(), names);
  const auto rejected = [&](std::string_view own_source) {
    Admission admission;
    admission.format = EPHOR_FORMAT_LINES;
    admission.own_source = own_source;
    return rejected_lines(door.admit(buffer_of(body), admission));
  };
  CHECK(rejected("") == Lines{2, 3, 5, 6, 7});
  CHECK(rejected("ephor/alerter") == Lines{3, 5, 6, 7});
  CHECK(rejected(kAnyOwnSource) == Lines{5, 7});

  const Arrival arrival = door.admit(buffer_of(body), {});
  REQUIRE(arrival.rejections.size() == 5);
  CHECK(arrival.rejections[0].json_pointer == "/source");
  CHECK(arrival.rejections[2].json_pointer == "/type");
  CHECK(arrival.event_count == 3);
}
