// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"
#include "reporter_host.hpp"
#include "support/catch.hpp"

using namespace ephor::reporter;
using namespace ephor::reporter::testing;
using ephor::Json;

namespace {

constexpr std::int64_t kHourNs = 3600LL * 1'000'000'000;

// Hourly, due at the full hour: at any time of the day one period is due within the last hour.
std::string hourly(const std::string& more = "") {
  return R"({"schedule": "hourly", "at": "00:00")" + more + "}";
}

std::string last_key() {
  return ephor::format_time(wall_ns() / kHourNs * kHourNs - kHourNs).substr(0, 13);
}

std::size_t made_count(ReporterHost& one) {
  const Json history = one.history();
  return static_cast<std::size_t>(
      std::count_if(history.begin(), history.end(),
                    [](const Json& report) { return report["status"] == "done"; }));
}

void go_live(ReporterHost& one) {
  one.host.tick(wall_ns() - kHourNs);
  one.host.tick(wall_ns());
}

}  // namespace

TEST_CASE("schedule: log time that passes a period's end makes its report, once", "[reporter]") {
  ReporterHost one(hourly());
  go_live(one);
  REQUIRE(one.wait_for([&] { return made_count(one) == 1; }));
  one.host.tick(wall_ns());
  one.host.flush(wall_ns());
  one.host.pump();
  CHECK(one.history().size() == 1);
  const Json report = one.history()[0];
  CHECK(report["report_id"] == "performance-hourly-" + last_key());
  CHECK(report["schedule_type"] == "hourly");
  CHECK_FALSE(read_file(one.file(std::string(report["report_id"]) + ".html")).empty());
  const Json schedule = one.get("/api/reports/schedule");
  CHECK(schedule["acts"] == true);
  CHECK(schedule["schedules"][0]["last_run"]["report_id"] == report["report_id"]);
  CHECK(schedule["schedules"][0]["next"]["from"] == report["over"]["to"]);
}

TEST_CASE("schedule: enabled and formats change what is made", "[reporter]") {
  ReporterHost off(hourly(R"(, "enabled": false)"));
  go_live(off);
  off.host.pump();
  CHECK(off.get("/api/reports/schedule")["schedules"][0]["waiting"].empty());
  CHECK(off.history().empty());
  ReporterHost json(hourly(R"(, "formats": ["json"])"));
  go_live(json);
  REQUIRE(json.wait_for([&] { return made_count(json) == 1; }));
  CHECK(json.history()[0]["files"].size() == 1);
}

TEST_CASE("schedule: played-back time is one gap in the history and no report", "[reporter]") {
  for (const std::string mode : {"live", "replay"}) {
    ReporterHost one(R"({"schedule": "daily"})", mode);
    for (int day = 7; day <= 14; ++day) {
      one.host.tick(*ephor::parse_time("2017-11-" + std::string(day < 10 ? "0" : "") +
                                       std::to_string(day) + "T06:00:00Z"));
    }
    const Json history = one.history();
    REQUIRE(history.size() == 1);
    CHECK(history[0]["status"] == "skipped");
    CHECK(history[0]["periods"] == 7);
    CHECK(history[0]["over"] ==
          Json({{"from", "2017-11-07T00:00:00Z"}, {"to", "2017-11-14T00:00:00Z"}}));
    CHECK_FALSE(std::filesystem::exists(one.folder.path() / "reports"));
  }
}

TEST_CASE("schedule: a recording of this hour that is replayed makes nothing", "[reporter]") {
  ReporterHost one(hourly(), "replay");
  go_live(one);
  REQUIRE(one.history().size() == 1);
  CHECK(one.history()[0]["status"] == "skipped");
}

TEST_CASE("schedule: a kill at any point makes each report exactly once", "[reporter]") {
  // Before the first save; after the plan was saved; after the report was made and not saved.
  for (int killed_at = 0; killed_at < 3; ++killed_at) {
    INFO("killed at " << killed_at);
    ReporterHost one(hourly());
    if (killed_at == 1) {
      one.host.fail_ingest(EPHOR_IO);  // the process dies before the report is known
      go_live(one);
      one.host.save();
      one.host.crash();
      one.host.fail_ingest(EPHOR_OK);
      one.host.tick(wall_ns());
    } else {
      go_live(one);
      if (killed_at == 2) {
        REQUIRE(one.wait_for([&] { return made_count(one) == 1; }));
      }
      one.host.crash();
    }
    REQUIRE(one.wait_for([&] { return made_count(one) == 1; }));
    one.host.tick(wall_ns());
    one.host.restart();
    one.host.tick(wall_ns());
    one.host.pump();
    CHECK(made_count(one) == 1);
    CHECK(Json::parse(one.host.ask("reporter.summary"))["reports_total"] == 1);
    CHECK(Json::parse(one.host.ask("reporter.summary"))["reports_waiting"] == 0);
    one.host.save();
    CHECK(one.host.rows("report_history").size() == 1);
  }
}

TEST_CASE("schedule: a restart keeps the history", "[reporter]") {
  ReporterHost one(hourly());
  go_live(one);
  REQUIRE(one.wait_for([&] { return made_count(one) == 1; }));
  const Json before = one.history();
  CHECK(one.host.restart());
  CHECK(one.history() == before);
}
