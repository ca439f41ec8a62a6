// SPDX-License-Identifier: Apache-2.0
#include <ephor/times.hpp>

#include "planner.hpp"
#include "support/catch.hpp"

using namespace ephor::reporter;
using ephor::parse_time;

namespace {

constexpr std::int64_t kHourNs = 3600LL * 1'000'000'000;

Planner planner(const std::string& config = "{}") {
  const Settings settings(config);
  return Planner(Schedule(settings.schedule, TimeZone::load(settings.timezone)), settings);
}

// The clock stands `behind_ns` after log time.
Plan advance(Planner& one, const char* time, std::int64_t behind_ns = 0) {
  const std::int64_t time_ns = *parse_time(time);
  return one.advance(time_ns, [=] { return time_ns + behind_ns; });
}

std::string keys(const Plan& plan) {
  std::string out;
  for (const Run& run : plan.runs)
    out += (out.empty() ? "" : " ") + run.period.key + (run.is_late ? "!" : "");
  return out;
}

}  // namespace

TEST_CASE("planner: each day is planned once, when log time has passed its end and the time of day",
          "[unit][reporter]") {
  Planner one = planner();
  CHECK(keys(advance(one, "2026-11-20T10:00:00Z")).empty());  // what was before is unknown
  CHECK(keys(advance(one, "2026-11-21T00:00:00Z")).empty());
  CHECK(keys(advance(one, "2026-11-21T00:04:59Z")).empty());
  CHECK(keys(advance(one, "2026-11-21T00:05:00Z")) == "2026-11-20");
  CHECK(keys(advance(one, "2026-11-21T00:05:01Z")).empty());
  CHECK(keys(advance(one, "2026-11-22T00:30:00Z")) == "2026-11-21");
}

TEST_CASE("planner: schedule changes what is planned", "[unit][reporter]") {
  Planner one = planner(R"({"schedule": "hourly"})");
  advance(one, "2026-11-20T10:05:00Z");
  CHECK(keys(advance(one, "2026-11-20T11:05:00Z")) == "2026-11-20T10");
  Planner weekly = planner(R"({"schedule": "weekly"})");
  advance(weekly, "2026-11-20T10:00:00Z");  // a Friday
  CHECK(keys(advance(weekly, "2026-11-21T10:00:00Z")).empty());
  CHECK(keys(advance(weekly, "2026-11-23T00:10:00Z")) == "2026-11-16");
}

TEST_CASE("planner: played-back time plans nothing and is one gap", "[unit][reporter]") {
  Planner one = planner();
  advance(one, "2017-11-07T06:00:00Z", 9 * 365 * 24 * kHourNs);
  const Plan plan = advance(one, "2017-11-14T06:00:00Z", 9 * 365 * 24 * kHourNs);
  CHECK(plan.runs.empty());
  REQUIRE(plan.skipped.has_value());
  CHECK(plan.skipped->count == 7);
  CHECK(plan.skipped->first.key == "2017-11-07");
  CHECK(plan.skipped->last.key == "2017-11-13");
}

TEST_CASE("planner: max_lateness_s is how far log time may be from the clock", "[unit][reporter]") {
  for (const auto& [config, is_planned] : {std::pair(R"({"max_lateness_s": 3600})", false),
                                           std::pair(R"({"max_lateness_s": 7201})", true)}) {
    Planner one = planner(config);
    advance(one, "2026-11-20T10:00:00Z");
    const Plan plan = advance(one, "2026-11-21T00:05:00Z", 2 * kHourNs);
    CHECK(plan.runs.size() == (is_planned ? 1U : 0U));
    CHECK(plan.skipped.has_value() == !is_planned);
  }
}

TEST_CASE("planner: what fell due while nobody was there is made up for as catch_up says",
          "[unit][reporter]") {
  const auto after_days_away = [](const std::string& config) {
    Planner one = planner(config);
    advance(one, "2026-11-16T10:00:00Z");
    return advance(one, "2026-11-20T10:00:00Z");  // due long ago: 16th to 19th
  };
  Plan plan = after_days_away("{}");
  CHECK(keys(plan) == "2026-11-19!");
  REQUIRE(plan.skipped.has_value());
  CHECK(plan.skipped->count == 3);
  CHECK(plan.skipped->last.key == "2026-11-18");

  plan = after_days_away(R"({"catch_up": "none"})");
  CHECK(keys(plan).empty());
  CHECK(plan.skipped->count == 4);

  plan = after_days_away(R"({"catch_up": "all"})");
  CHECK(keys(plan) == "2026-11-16! 2026-11-17! 2026-11-18! 2026-11-19!");
  CHECK_FALSE(plan.skipped.has_value());

  plan = after_days_away(R"({"catch_up": "all", "max_catch_up": 2})");
  CHECK(keys(plan) == "2026-11-18! 2026-11-19!");
  CHECK(plan.skipped->count == 2);
}

TEST_CASE("planner: a report on time is no late one, whatever was missed before it",
          "[unit][reporter]") {
  Planner one = planner();
  advance(one, "2026-11-16T10:00:00Z");
  const Plan plan = advance(one, "2026-11-20T00:10:00Z");
  CHECK(keys(plan) == "2026-11-19");
  CHECK(plan.skipped->count == 3);
}

TEST_CASE("planner: a saved state goes on, that of another schedule does not", "[unit][reporter]") {
  Planner one = planner();
  advance(one, "2026-11-20T10:00:00Z");
  std::string state;
  ephor::StateWriter out(state);
  one.save(out);
  Planner same = planner();
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { same.load(in); }));
  CHECK(keys(advance(same, "2026-11-21T00:05:00Z")) == "2026-11-20");
  Planner other = planner(R"({"timezone": "+02:00"})");
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { other.load(in); }));
  CHECK(keys(advance(other, "2026-11-21T00:05:00Z")).empty());
}

TEST_CASE("settings: what is wrong is named with its place", "[unit][reporter]") {
  const auto pointer_of = [](const std::string& config) -> std::string {
    try {
      const Settings settings(config);
      return "none";
    } catch (const ephor::Error& failure) {
      return failure.json_pointer();
    }
  };
  CHECK(pointer_of("{}") == "none");
  CHECK(pointer_of(R"({"at": "25:00"})") == "/at");
  CHECK(pointer_of(R"({"schedule": "fortnightly"})") == "/schedule");
  CHECK(pointer_of(R"({"formats": []})") == "/formats");
  CHECK(pointer_of(R"({"recipients": ["a@b", "x\r\nBcc: y@z"]})") == "/recipients/1");
  CHECK(pointer_of(R"({"smtp": {"from": "nobody"}})") == "/smtp/from");
  CHECK(pointer_of(R"({"smtp": {"host": "mail.example", "user": "u", "security": "none"}})") ==
        "/smtp/security");
}
