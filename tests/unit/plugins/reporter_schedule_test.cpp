// SPDX-License-Identifier: Apache-2.0
#include <ephor/json.hpp>
#include <ephor/times.hpp>
#include <fstream>

#include "schedule.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "time_zone.hpp"

using namespace ephor::reporter;
using ephor::format_time;
using ephor::Json;
using ephor::parse_time;

namespace {

constexpr std::int64_t kHourNs = 3600LL * 1'000'000'000;

// A TZif file of version 2 without transitions: only the footer's rule counts.
TimeZone zone_of(const std::string& posix, std::int32_t first_offset_s) {
  const auto header = [](int types, int chars) {
    std::string out = "TZif2" + std::string(15, '\0');
    for (const int count : {0, 0, 0, 0, types, chars}) {
      out += std::string(3, '\0') + static_cast<char>(count);
    }
    return out;
  };
  std::string body;
  for (int shift = 24; shift >= 0; shift -= 8)
    body += static_cast<char>(static_cast<std::uint32_t>(first_offset_s) >> shift & 0xFF);
  body += std::string(2, '\0') + std::string("LMT\0", 4);
  return TimeZone::parse("Test/Zone",
                         header(1, 4) + body + header(1, 4) + body + "\n" + posix + "\n");
}

TimeZone paris() { return zone_of("CET-1CEST,M3.5.0,M10.5.0/3", 3600); }

std::int64_t seconds(const char* time) { return *parse_time(time) / 1'000'000'000; }

Schedule daily(const TimeZone& zone, std::int64_t at_s) {
  return Schedule({Cadence::daily, at_s, 0, 1}, zone);
}

std::string due_text(const Period& period) { return format_time(period.due_ns); }

}  // namespace

// European summer time (Directive 2000/84/EC): last Sunday of March and October, 01:00 UTC.
TEST_CASE("time zone: a POSIX rule gives the offsets of both halves of the year", "[unit]") {
  const TimeZone zone = paris();
  CHECK(zone.offset_s(seconds("2026-03-29T00:59:59Z")) == 3600);
  CHECK(zone.offset_s(seconds("2026-03-29T01:00:00Z")) == 7200);
  CHECK(zone.offset_s(seconds("2026-10-25T00:59:59Z")) == 7200);
  CHECK(zone.offset_s(seconds("2026-10-25T01:00:00Z")) == 3600);
  CHECK(zone.offset_s(seconds("2099-07-01T00:00:00Z")) == 7200);
}

TEST_CASE("time zone: a local time in the gap is its end, one that exists twice the first",
          "[unit]") {
  const TimeZone zone = paris();
  CHECK(zone.to_utc(seconds("2026-03-29T02:30:00Z")) == seconds("2026-03-29T01:00:00Z"));
  CHECK(zone.to_utc(seconds("2026-10-25T02:30:00Z")) == seconds("2026-10-25T00:30:00Z"));
  CHECK(zone.to_utc(seconds("2026-10-25T03:30:00Z")) == seconds("2026-10-25T02:30:00Z"));
  CHECK(zone.to_utc(seconds("2026-07-01T12:00:00Z")) == seconds("2026-07-01T10:00:00Z"));
}

TEST_CASE("time zone: southern halves, angle brackets and fixed offsets", "[unit]") {
  const TimeZone sydney = zone_of("AEST-10AEDT,M10.1.0,M4.1.0/3", 36'000);
  CHECK(sydney.offset_s(seconds("2026-01-15T00:00:00Z")) == 39'600);
  CHECK(sydney.offset_s(seconds("2026-07-15T00:00:00Z")) == 36'000);
  CHECK(zone_of("<+0530>-5:30", 0).offset_s(0) == 19'800);
  CHECK(TimeZone::load("+05:30").offset_s(0) == 19'800);
  CHECK(TimeZone::load("-03:00").to_utc(0) == 10'800);
  CHECK(TimeZone::load("UTC").to_utc(86'400) == 86'400);
}

TEST_CASE("time zone: what is no zone is refused with what would be one", "[unit]") {
  for (const char* name : {"../../etc/passwd", "/etc/passwd", "Nowhere/Land", "", "+25:00x"}) {
    if (std::string(name).empty()) continue;
    CHECK_THROWS_AS(TimeZone::load(name), ephor::Error);
  }
  CHECK_THROWS_AS(TimeZone::parse("x", "TZif2"), ephor::Error);
  CHECK_THROWS_AS(TimeZone::parse("x", "no zone at all"), ephor::Error);
}

TEST_CASE("schedule: a day of a clock change has 23 or 25 hours", "[unit]") {
  const Schedule schedule = daily(paris(), 300);
  const Period spring = schedule.period(schedule.last_due(*parse_time("2026-03-30T12:00:00Z")));
  CHECK(spring.key == "2026-03-29");
  CHECK(spring.to_ns - spring.from_ns == 23 * kHourNs);
  CHECK(format_time(spring.from_ns) == "2026-03-28T23:00:00Z");
  CHECK(format_time(spring.to_ns) == "2026-03-29T22:00:00Z");
  CHECK(due_text(spring) == "2026-03-29T22:05:00Z");
  const Period autumn = schedule.period(schedule.last_due(*parse_time("2026-10-26T12:00:00Z")));
  CHECK(autumn.to_ns - autumn.from_ns == 25 * kHourNs);
}

TEST_CASE("schedule: windows follow one another without gap or overlap", "[unit]") {
  const std::int64_t begin = *parse_time("2025-12-15T00:00:00Z");
  for (const Cadence cadence :
       {Cadence::hourly, Cadence::daily, Cadence::weekly, Cadence::monthly}) {
    for (const int day : {1, 8, 31}) {
      const Schedule schedule({cadence, 9000, 2, day}, paris());
      std::int64_t index = schedule.last_due(begin);
      for (int i = 0; i < 40; ++i, ++index) {
        const Period one = schedule.period(index);
        const Period next = schedule.period(index + 1);
        CHECK(one.to_ns == next.from_ns);
        CHECK(one.due_ns >= one.to_ns);
        CHECK(one.due_ns < next.due_ns);
        CHECK(one.key != next.key);
        CHECK(schedule.last_due(one.due_ns) == index);
        CHECK(schedule.last_due(one.due_ns - 1) == index - 1);
      }
    }
  }
}

TEST_CASE("schedule: weeks and months are those before the day of the run", "[unit]") {
  const TimeZone utc = TimeZone::load("UTC");
  const std::int64_t time = *parse_time("2017-11-15T10:00:00Z");  // a Wednesday
  const Schedule weekly({Cadence::weekly, 300, 0, 1}, utc);
  const Period week = weekly.period(weekly.last_due(time));
  CHECK(week.key == "2017-11-06");
  CHECK(format_time(week.to_ns) == "2017-11-13T00:00:00Z");
  const Schedule monthly({Cadence::monthly, 300, 0, 1}, utc);
  const Period month = monthly.period(monthly.last_due(time));
  CHECK(month.key == "2017-10-01");
  CHECK(format_time(month.to_ns) == "2017-11-01T00:00:00Z");
  const Schedule last_day({Cadence::monthly, 300, 0, 31}, utc);
  const Period short_month =
      last_day.period(last_day.last_due(*parse_time("2018-03-01T00:00:00Z")));
  CHECK(due_text(short_month) == "2018-02-28T00:05:00Z");
  CHECK(format_time(short_month.from_ns) == "2018-01-31T00:00:00Z");
}

TEST_CASE("schedule: the last complete day ends at the last midnight", "[unit]") {
  const Schedule schedule({Cadence::hourly, 300, 0, 1}, TimeZone::load("UTC"));
  const Period day = schedule.last_complete_day(*parse_time("2017-11-14T22:58:00Z"));
  CHECK(format_time(day.from_ns) == "2017-11-13T00:00:00Z");
  CHECK(format_time(day.to_ns) == "2017-11-14T00:00:00Z");
}

// Second implementation: the expected instants of the fixture were computed with Python's zoneinfo.
TEST_CASE("schedule: the days of clock changes run as the fixture says", "[unit]") {
  const auto file = ephor::testing::shared_data("trading/schedule_dst.json");
  if (!file) return;
  std::ifstream in(*file);
  const Json fixture = Json::parse(in);
  std::size_t runs = 0;
  for (const Json& item : fixture["cases"]) {
    const std::string at = item["at"];
    Schedule::Options options;
    options.cadence = cadence_of(item["kind"].get<std::string>());
    options.at_s = std::stoi(at.substr(0, 2)) * 3600 + std::stoi(at.substr(3)) * 60;
    options.weekday = item.value("wd", 0);
    options.day_of_month = item.value("dom", 1);
    const Schedule schedule(options, TimeZone::load(item["zone"].get<std::string>()));
    const Json& expected = item["expected"];
    std::int64_t index = schedule.last_due(*parse_time(expected[0]["utc"].get<std::string>()));
    for (const Json& one : expected) {
      INFO(item["zone"] << " " << item["kind"] << " " << one.dump());
      CHECK(due_text(schedule.period(index++)) == one["utc"].get<std::string>());
      ++runs;
    }
  }
  CHECK(runs > 20);
}
