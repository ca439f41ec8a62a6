// SPDX-License-Identifier: Apache-2.0
//
// The line protocol at the door. What is expected was put in: cases from InfluxData's public
// description of the protocol, and random points written as lines.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "ingest/metric_batch.hpp"
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
  std::vector<Rejection> rejections;
  std::vector<ephor_event> events;  // records are gone
  std::vector<Hash128> ids;
  std::vector<std::string> records;
  std::uint32_t record_count = 0;
  std::uint32_t rejected_count = 0;
  std::uint32_t accepted_count = 0;
};

Taken take(std::string_view body, std::uint32_t format = EPHOR_FORMAT_INFLUX_NS,
           IngestConfig config = {}) {
  Names names;
  Door door(std::move(config), names);
  const Arrival arrival = door.admit(buffer_of(body), admission(format));
  Taken out;
  out.rejections = arrival.rejections;
  out.record_count = arrival.record_count;
  out.rejected_count = arrival.rejected_count;
  for (const ArrivedBatch& arrived : arrival.batches) {
    for (const RecordGroup& group : arrived.records) out.accepted_count += group.record_count;
    for (const ephor_event& event : arrived.batch->events) {
      out.events.push_back(event);
      out.records.emplace_back(record_of(event));
      CHECK(names.topics.name(event.topic) == "ephor.metric_batch");
      for (auto& sample :
           ephor::testing::reference_samples(Json::parse(out.records.back()).at("data"))) {
        out.samples.push_back(std::move(sample));
      }
    }
    out.ids.insert(out.ids.end(), arrived.batch->ids.begin(), arrived.batch->ids.end());
  }
  std::ranges::sort(out.samples);
  return out;
}

// Of a body that is one good line with one sample.
ReferenceSample only(std::string_view line) {
  const Taken taken = take(line);
  INFO(line);
  for (const Rejection& rejection : taken.rejections) INFO(rejection.reason);
  REQUIRE(taken.samples.size() == 1);
  CHECK(taken.record_count == 1);
  return taken.samples[0];
}

void check_refused(std::string_view line, std::string_view reason) {
  const Taken taken = take(line);
  INFO(line);
  REQUIRE(taken.rejections.size() == 1);
  CHECK(taken.rejections[0].line == 1);
  INFO(taken.rejections[0].reason);
  CHECK(taken.rejections[0].reason.find(reason) != std::string::npos);
  CHECK(taken.samples.empty());
}

}  // namespace

TEST_CASE("influx: a line becomes samples", "[unit][ingest]") {
  const Taken taken = take(
      "weather,location=us-midwest,season=summer temperature=82.5,wet=t,n=3i "
      "1465839830100400200\n");
  const Labels labels{{"location", "us-midwest"}, {"season", "summer"}};
  REQUIRE(taken.samples.size() == 3);
  CHECK(taken.record_count == 1);
  const std::vector<std::pair<std::string, double>> expected{
      {"weather_n", 3.0}, {"weather_temperature", 82.5}, {"weather_wet", 1.0}};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(taken.samples[i].name == expected[i].first);
    CHECK(taken.samples[i].value == expected[i].second);
    CHECK(taken.samples[i].labels == labels);
    CHECK(taken.samples[i].time_ns == 1465839830100400200);
  }
  CHECK(only("cpu value=7 1").name == "cpu");
  CHECK(only("cpu value=7 1").labels.empty());
}

TEST_CASE("influx: escapes of the specification", "[unit][ingest]") {
  CHECK(only(R"(wea\,ther,location=us-midwest temperature=82 1)").name == "wea,ther_temperature");
  CHECK(only(R"(wea\ ther temperature=82 1)").name == "wea ther_temperature");
  CHECK(only(R"(weather temp\=rature=82 1)").name == "weather_temp=rature");
  CHECK(only(R"(weather,location\ place=us-midwest t=82 1)").labels ==
        Labels{{"location place", "us-midwest"}});
  CHECK(only(R"(weather,location=us\,mid\=west\ x t=82 1)").labels ==
        Labels{{"location", "us,mid=west x"}});
  // A backslash that escapes nothing is one.
  CHECK(only(R"(weather,path=C:\temp t=82 1)").labels == Labels{{"path", R"(C:\temp)"}});
  CHECK(only("m\xC3\xA4\xC3\x9F,t=\xE2\x82\xAC v=1 1").labels == Labels{{"t", "\xE2\x82\xAC"}});
  // Texts: quotes and backslashes escaped, blanks, commas, '=' and line ends inside.
  const Taken taken = take("w t=82,s=\"a \\\"b\\\" \\\\, =\nnext\" 5\nv x=1 6\nbad\n");
  REQUIRE(taken.samples.size() == 3);
  CHECK(taken.samples[1].text == Json("a \"b\" \\, =\nnext").dump());
  CHECK(taken.samples[1].name == "w_s");
  CHECK(taken.samples[0].name == "v_x");
  REQUIRE(taken.rejections.size() == 1);
  CHECK(taken.rejections[0].line == 4);
}

TEST_CASE("influx: numbers keep their value", "[unit][ingest]") {
  const std::vector<std::pair<std::string, double>> cases{
      {"1", 1.0},
      {"1.0", 1.0},
      {"-1.5", -1.5},
      {".5", 0.5},
      {"1.", 1.0},
      {"-0", -0.0},
      {"1e3", 1e3},
      {"-1.234456e+78", -1.234456e+78},
      {"1E-3", 1e-3},
      {"12i", 12.0},
      {"-12i", -12.0},
      {"9223372036854775807i", 9223372036854775807.0},
      {"18446744073709551615u", 18446744073709551615.0},
      {"0.1", 0.1},
      {"123456789012345", 123456789012345.0},
      {"1234567890123456.5", 1234567890123456.5},
      {"0.000000000000001", 1e-15},
      {"5e-324", 5e-324},
      {"1.7976931348623157e308", 1.7976931348623157e308},
      {"000012.50", 12.5},
      {"TRUE", 1.0},
      {"False", 0.0},
      {"f", 0.0}};
  for (const auto& [text, value] : cases) {
    INFO(text);
    CHECK(only("m v=" + text + " 1").value == value);
  }
}

TEST_CASE("influx: times in every precision, missing ones are the arrival's", "[unit][ingest]") {
  CHECK(take("m v=1 1700000000\n", EPHOR_FORMAT_INFLUX_S).samples[0].time_ns ==
        1'700'000'000'000'000'000);
  CHECK(take("m v=1 1700000000123\n", EPHOR_FORMAT_INFLUX_MS).samples[0].time_ns ==
        1'700'000'000'123'000'000);
  CHECK(take("m v=1 1700000000123456\n", EPHOR_FORMAT_INFLUX_US).samples[0].time_ns ==
        1'700'000'000'123'456'000);
  CHECK(only("m v=1 -5").time_ns == -5);
  const Taken missing = take("m v=1\nm v=2 1700000000000000000\n");
  CHECK(missing.samples[1].time_ns == kArrivedNs);
  CHECK((missing.events[0].flags & EPHOR_EVENT_TIME_ARRIVAL) != 0);
  CHECK(missing.events[0].time_ns == kArrivedNs);
  const Taken future = take("m v=1 1900000000000000000\n");
  CHECK(future.samples[0].time_ns == kArrivedNs);
  CHECK((future.events[0].flags & EPHOR_EVENT_TIME_CLAMPED) != 0);
  CHECK(take("m v=1 9300000000", EPHOR_FORMAT_INFLUX_S).rejected_count == 1);  // beyond 2262
}

TEST_CASE("influx: a bad line is refused alone, with where and why", "[unit][ingest]") {
  check_refused("m", "at byte 2 of the line: found the end of the line");
  check_refused("m,a=b", "expected a blank and fields");
  check_refused("m v", "expected a field's name and '='");
  check_refused("m v=", "expected a number, a quoted text or a boolean");
  check_refused("m v=x", "found \"x\", expected a number");
  check_refused("m v=1,", "expected a field's name");
  check_refused("m v=1 x", "a time as an integer");
  check_refused("m v=1 1 1", "a time as an integer");
  check_refused("m v=\"abc", "a text that ends");
  check_refused("m v=1.5i", "64-bit integer");
  check_refused("m v=-1u", "unsigned 64-bit integer");
  check_refused("m v=9223372036854775808i", "64-bit integer");
  check_refused("m v=1e999", "finite");
  check_refused("m v=-inf", "finite");
  check_refused("m,a= v=1", "a tag's value");
  check_refused("m,=b v=1", "a tag's name");
  check_refused("m,a v=1", "expected a tag's name, '=' and its value");
  check_refused("m,a=1,a=2 v=1", "twice");
  check_refused(",a=1 v=1", "the measurement");
  check_refused("m\xFF v=1", "the measurement");
  check_refused("m v=\"\xFF\"", "no UTF-8");
  check_refused(std::string(300, 'm') + " v=1", "1 to 256 bytes");
  check_refused("m v=" + std::string(70'000, '1'), "expected at most 65536");
  std::string fields = "m a=1";
  for (int i = 0; i < 1100; ++i) fields += ",f" + std::to_string(i) + "=1";
  check_refused(fields, "more than 1024 fields");

  const Taken mixed = take("# a comment\n\nm v=1 1\r\nm v= 2\n  \nm v=3 3\n\"\nm v=4 4");
  CHECK(mixed.samples.size() == 3);
  CHECK(mixed.accepted_count == 3);
  CHECK(mixed.record_count == 5);
  REQUIRE(mixed.rejections.size() == 2);
  CHECK(mixed.rejections[0].line == 4);
  CHECK(mixed.rejections[1].line == 7);
}

TEST_CASE("influx: the same body is the same event, another is another", "[unit][ingest]") {
  const std::string body = "m,a=b v=1 1\nm,a=c v=2 2\n";
  CHECK(take(body).ids == take(body).ids);
  CHECK_FALSE(take(body).ids == take("m,a=b v=1 1\nm,a=c v=3 2\n").ids);
  CHECK_FALSE(take(body).ids == take("m,a=b v=1 1\nm,a=c v=2 3\n").ids);
}

TEST_CASE("influx: random points come back as they were put in", "[unit][ingest]") {
  std::mt19937_64 random(7);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  for (int round = 0; round < 60; ++round) {
    std::vector<ReferenceSample> expected;
    std::string body;
    const std::uint64_t label_count = below(4);
    const std::uint64_t field_count = 1 + below(5);
    const int style = round % 6;
    const std::size_t line_count = round % 10 == 9 ? 40'000 : 1 + below(400);
    for (std::size_t i = 0; i < line_count; ++i) {
      std::string line = "m" + std::to_string(below(3));
      ReferenceSample sample;
      const std::string measurement = line;
      for (std::uint64_t l = 0; l < label_count; ++l) {
        const std::string name = "l" + std::to_string(l);
        sample.labels[name] = "v" + std::to_string(below(style == 0 ? 1000 : 5));
        line += "," + name + "=" + sample.labels[name];
      }
      sample.time_ns = 1'700'000'000'000'000'000 +
                       static_cast<std::int64_t>(below(1000) * (style == 1 ? 1 : 1'000'000'000));
      char separator = ' ';
      for (std::uint64_t f = 0; f < field_count; ++f) {
        if (style == 2 && f > 0 && below(2) == 0) continue;
        double value = 0.0;
        switch (style) {
          case 3:
            value = std::bit_cast<double>(below(UINT64_MAX) & ~(std::uint64_t{0x7FF} << 52U) |
                                          (below(2000) + 20) << 52U);
            break;
          case 4:
            value = static_cast<double>(below(2'000'000)) - 1e6;
            break;
          default:
            value = (static_cast<double>(below(2'000'000)) - 1e6) / 1000.0;
        }
        char text[64];
        *std::to_chars(text, text + sizeof text, value).ptr = '\0';
        line += separator + std::string("f") + std::to_string(f) + "=" + text;
        separator = ',';
        sample.name = measurement + "_f" + std::to_string(f);
        sample.value = value;
        expected.push_back(sample);
      }
      body += line + " " + std::to_string(sample.time_ns) + "\n";
    }
    const Taken taken = take(body);
    CHECK(taken.rejected_count == 0);
    CHECK(taken.accepted_count == line_count);
    std::ranges::sort(expected);
    INFO("round " << round);
    CHECK(taken.samples == expected);
    if (line_count == 40'000) CHECK(taken.events.size() > 1);
  }
}

TEST_CASE("influx: events keep to the bound of a record", "[unit][ingest]") {
  std::string body;
  for (int i = 0; i < 3000; ++i) {
    body += "m,host=" + std::string(200, static_cast<char>('a' + i % 26)) + std::to_string(i) +
            " v=" + std::to_string(i) + " 1\n";
  }
  IngestConfig config;
  config.record_bytes_max = 40'000;
  const Taken taken = take(body, EPHOR_FORMAT_INFLUX_NS, config);
  CHECK(taken.rejected_count == 0);
  CHECK(taken.samples.size() == 3000);
  for (const std::string& record : taken.records) CHECK(record.size() <= 40'000);
}

TEST_CASE("metric batch: decimals are the doubles they stand for", "[unit][ingest]") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 40'000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const double scaled = static_cast<double>(random() % 10'000'000) / 1000.0;
    for (const double one : {value, scaled, -scaled, std::floor(value)}) {
      if (std::isfinite(one)) CHECK(decimal_of(one).number() == one);
    }
  }
  CHECK(std::signbit(decimal_of(-0.0).number()));
  CHECK_FALSE(decimal_of(12.345).is_real);
  CHECK(decimal_of(12.345).mantissa == 12345);
  CHECK(decimal_of(12.345).scale == 3);
}
