// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"
#include "reporter_host.hpp"
#include "support/catch.hpp"

using namespace ephor::reporter;
using namespace ephor::reporter::testing;
using ephor::Json;

namespace {

constexpr const char* kDay = R"({"from": "2017-11-08T00:00:00Z", "to": "2017-11-09T00:00:00Z"})";

Json generate(ReporterHost& one, const std::string& body) {
  Json answer = Json::parse(one.host.request("POST", "/api/reports/generate", body));
  one.host.pump();
  return answer;
}

ephor_status status_of(const std::function<void()>& call) {
  try {
    call();
    return EPHOR_OK;
  } catch (const ephor::Error& failure) {
    return failure.code();
  }
}

}  // namespace

TEST_CASE("reporter: a report is made, kept, listed and read back", "[reporter]") {
  ReporterHost one;
  const Json answer = generate(one, kDay);
  const std::string id = answer["report_id"];
  CHECK(answer["status"] == "done");
  REQUIRE(answer["files"].size() == 2);
  const std::string html = one.host.request("GET", "/api/reports/" + id + "/html");
  CHECK(html == read_file(one.file(id + ".html")));
  CHECK(html.find("+7.00") != std::string::npos);
  const Json model = Json::parse(one.host.request("GET", "/api/reports/" + id + "/json"));
  CHECK(model["report_id"] == id);
  CHECK(model["generated_at"] == answer["generated_at"]);
  for (const Json& file : answer["files"]) {
    const std::string bytes = read_file(one.file(file["name"]));
    CHECK(file["bytes"] == bytes.size());
    CHECK(file["sha256"] == sha256_hex(bytes));
  }
  REQUIRE(one.history().size() == 1);
  CHECK(one.history()[0]["report_id"] == id);
  CHECK(one.report(id)["over"]["from"] == "2017-11-08T00:00:00Z");
  CHECK(Json::parse(one.host.ask("reporter.summary"))["reports_total"] == 1);
}

TEST_CASE("reporter: the row of a report has the user's columns", "[reporter]") {
  ReporterHost one;
  const Json answer = generate(one, kDay);
  one.host.save();
  const auto rows = one.host.rows("report_history");
  REQUIRE(rows.size() == 1);
  const auto& row = rows[0];
  CHECK(row.at("id").bytes == answer["report_id"]);
  CHECK(row.at("report_type").bytes == "performance");
  CHECK(row.at("generated_at").bytes == answer["generated_at"]);
  CHECK(row.at("schedule_type").bytes == "manual");
  CHECK(row.at("recipients").bytes == "[]");
  CHECK(row.at("file_path").bytes == "reports/" + std::string(answer["report_id"]) + ".html");
  CHECK(row.at("status").bytes == "done");
}

TEST_CASE("reporter: the period is the last complete day of log time unless asked for",
          "[reporter]") {
  ReporterHost one;
  CHECK(status_of([&] { generate(one, "{}"); }) == EPHOR_STATE);
  one.host.tick(*ephor::parse_time("2017-11-09T10:00:00Z"));
  CHECK(generate(one, "{}")["over"] ==
        Json({{"from", "2017-11-08T00:00:00Z"}, {"to", "2017-11-09T00:00:00Z"}}));
  CHECK(generate(one, R"({"from": "2017-11-09T08:00:00Z"})")["over"]["to"] ==
        "2017-11-09T10:00:00Z");
}

TEST_CASE("reporter: what cannot be made is refused", "[reporter]") {
  ReporterHost one;
  CHECK(status_of([&] { generate(one, R"({"from": "2017-11-09", "to": "2017-11-08"})"); }) ==
        EPHOR_INVALID);
  CHECK(status_of([&] { generate(one, R"({"from": "yesterday"})"); }) == EPHOR_INVALID);
  CHECK(status_of([&] { generate(one, R"({"report_type": "poem"})"); }) == EPHOR_INVALID);
  CHECK(status_of([&] {
          generate(one, R"({"from": "2017-11-08", "to": "2017-11-09", "formats": ["docx"]})");
        }) == EPHOR_INVALID);
  CHECK(status_of([&] {
          generate(one, R"({"from": "2017-11-08", "to": "2017-11-09", "recipients": ["a b"]})");
        }) == EPHOR_INVALID);
  CHECK(status_of([&] { one.host.request("GET", "/api/reports/none"); }) == EPHOR_NOT_FOUND);
  CHECK(status_of([&] { one.host.request("GET", "/api/reports/..%2F..%2Fetc/html"); }) ==
        EPHOR_NOT_FOUND);
  CHECK(one.history().empty());
}

TEST_CASE("reporter: pdf is recorded as skipped with its reason", "[reporter]") {
  ReporterHost one(R"({"formats": ["pdf", "json"]})");
  const Json answer = generate(one, kDay);
  CHECK(answer["files"][0]["status"] == "skipped");
  CHECK(answer["files"][0]["reason"] == "there is no PDF renderer yet");
  CHECK(answer["files"][1]["status"] == "written");
}

TEST_CASE("reporter: recipients without a mail server are told so in the history", "[reporter]") {
  ReporterHost one;
  const std::string body =
      R"({"from": "2017-11-08", "to": "2017-11-09", "recipients": ["desk@example.org"]})";
  const Json answer = generate(one, body);
  CHECK(answer["deliveries"][0]["state"] == "not sent");
  CHECK(answer["deliveries"][0]["error"] == "no smtp configured");
  ReporterHost off(R"({"email_distribution": false, "smtp": {"host": "127.0.0.1", "port": 1}})");
  CHECK(generate(off, body)["deliveries"][0]["error"] == "email_distribution is off");
}

TEST_CASE("reporter: a replay makes nothing but knows what was made", "[reporter]") {
  ReporterHost live;
  const Json answer = generate(live, kDay);
  ReporterHost replay("{}", "replay");
  for (const auto& body : live.host.ingested()) replay.host.deliver(body.body);
  CHECK(replay.history()[0]["report_id"] == answer["report_id"]);
  CHECK(status_of([&] { generate(replay, kDay); }) == EPHOR_STATE);
  CHECK_FALSE(std::filesystem::exists(replay.folder.path() / "reports"));
  const Json preview = replay.get("/api/reports/preview?from=2017-11-08&to=2017-11-09");
  CHECK(preview["sections"][0]["blocks"][0]["figures"][0]["value"] == 7.0);
}

TEST_CASE("reporter: events of another source or with paths in them are not believed",
          "[reporter]") {
  ReporterHost one;
  const Json made{
      {"report_id", "x"},
      {"report_type", "performance"},
      {"status", "done"},
      {"files",
       Json::array({{{"format", "html"}, {"status", "written"}, {"name", "../../secret"}}})}};
  for (const char* source : {"client", "ephor/reporter"}) {
    one.host.deliver(Json{
        {"specversion", "1.0"},
        {"id", source},
        {"source", source},
        {"type", "ephor.report"},
        {"time", "2017-11-08T00:00:00Z"},
        {"data", made}}.dump());
  }
  CHECK(one.history().empty());
}

TEST_CASE("reporter: reports beyond max_reports lose their files and keep their rows",
          "[reporter]") {
  ReporterHost one(R"({"max_reports": 2})");
  const std::string first = generate(one, kDay)["report_id"];
  generate(one, kDay);
  generate(one, kDay);
  CHECK(one.history().size() == 2);
  CHECK(one.wait_for([&] { return !std::filesystem::exists(one.file(first + ".html")); }));
  one.host.save();
  CHECK(one.host.rows("report_history").size() == 3);
  CHECK(one.report(first)["status"] == "expired");
}

TEST_CASE("reporter: a journal that refuses makes the request fail, not the plugin", "[reporter]") {
  ReporterHost one;
  one.host.fail_ingest(EPHOR_FULL);
  CHECK(status_of([&] { generate(one, kDay); }) == EPHOR_FULL);
  one.host.fail_ingest(EPHOR_OK);
  CHECK(generate(one, kDay)["status"] == "done");
}
