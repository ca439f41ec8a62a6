// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "build_report.hpp"
#include "render.hpp"
#include "reporter_support.hpp"
#include "support/catch.hpp"
#include "text.hpp"

using namespace ephor::reporter;
using namespace ephor::reporter::testing;
using ephor::Json;

namespace {

Report report_of_day() {
  ReportHead head;
  head.report_id = "performance-daily-2017-11-08";
  head.report_type = "performance";
  head.schedule_type = "daily";
  head.generated_at_ns = kFrom + kDayNs + 300'000'000'000;
  head.window = window_of_day();
  return build_report(head, collect(ask_all(), all_queries(), head.window, {}),
                      TimeZone::load("UTC"));
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

}  // namespace

TEST_CASE("text: numbers as people read them", "[unit][reporter]") {
  const std::string minus = "\u2212";
  CHECK(money(1234567.5, false) == "1,234,567.50");
  CHECK(money(-0.004, true) == "0.00");
  CHECK(money(-12.345, true) == minus + "12.35");
  CHECK(money(3, true) == "+3.00");
  CHECK(share(0.587) == "58.7\u202F%");
  CHECK(share(0.00563) == "0.56\u202F%");
  CHECK(share(-0.2, true) == minus + "20.0\u202F%");
  CHECK(number(0) == "0");
  CHECK(number(3.99999) == "4.000");
  CHECK(number(1.21669) == "1.217");
  CHECK(number(12345.6) == "12,346");
  CHECK(number(0.001234567) == "0.001235");
  CHECK(whole(-1234) == minus + "1,234");
  CHECK(milliseconds(4.2) == "4.20\u202Fms");
  CHECK(milliseconds(12'345) == "12.3\u202Fs");
  CHECK(duration(5) == "5.0\u202Fs");
  CHECK(duration(60'780) == "16\u202Fh 53\u202Fmin");
  CHECK(duration(86'400) == "24\u202Fh");
  CHECK(duration(86'400 * 7 + 3600) == std::string("7\u202F") + "d 1\u202Fh");
  CHECK(date_time(kFrom, 0) == "8 Nov 2017 00:00");
  CHECK(date_time(kFrom, -3600) == "7 Nov 2017 23:00");
  CHECK(short_date_time(kFrom, 19'800) == "8 Nov 05:30");
  CHECK(value_text(Value(), Format::money, 0).empty());
}

TEST_CASE("text: everything that HTML reads as its own is escaped", "[unit][reporter]") {
  CHECK(escape_html("<a href=\"x\">'&") == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
  CHECK(escape_html(std::string("a\0b", 3)) == "a b");
}

TEST_CASE("json: the whole model, members in their order, no data is null", "[unit][reporter]") {
  const std::string text = render_json(report_of_day());
  const Json report = Json::parse(text);
  CHECK(report["schema"] == "ephor.report/1");
  CHECK(report["over"]["from"] == "2017-11-08T00:00:00Z");
  CHECK(report["over"]["to"] == "2017-11-09T00:00:00Z");
  CHECK(report["over"]["previous_from"] == "2017-11-07T00:00:00Z");
  const Json& pnl = report["sections"][0]["blocks"][0]["figures"][0];
  CHECK(pnl["id"] == "pnl");
  CHECK(pnl["value"] == 7.0);
  CHECK(pnl["before"] == -5.0);
  CHECK(text.find("\"schema\"") < text.find("\"report_id\""));
  CHECK(text.find("nan") == std::string::npos);
  for (const Json& section : report["sections"]) {
    for (const Json& block : section["blocks"]) {
      if (block["kind"] != "figures") continue;
      for (const Json& figure : block["figures"]) {
        if (figure["id"] == "sharpe") CHECK(figure["value"].is_null());
      }
    }
  }
}

TEST_CASE("json: what is no number is null", "[unit][reporter]") {
  Report report;
  report.sections.push_back({"s", "S", "", {}});
  Table table;
  table.columns = {{"x", "X", Format::number}};
  table.rows = {{std::numeric_limits<double>::quiet_NaN()},
                {std::numeric_limits<double>::infinity()}};
  report.sections[0].blocks.push_back(table);
  const Json rows = Json::parse(render_json(report))["sections"][0]["blocks"][0]["rows"];
  CHECK(rows[0]["x"].is_null());
  CHECK(rows[1]["x"].is_null());
}

TEST_CASE("rendering: the same inputs give the same bytes", "[unit][reporter]") {
  CHECK(render_html(report_of_day()) == render_html(report_of_day()));
  CHECK(render_json(report_of_day()) == render_json(report_of_day()));
  CHECK(render_mail_html(report_of_day()) == render_mail_html(report_of_day()));
}

TEST_CASE("html: one file, nothing to run or to load, names escaped", "[unit][reporter]") {
  const std::string html = render_html(report_of_day());
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find("http://") == std::string::npos);
  CHECK(html.find("https://") == std::string::npos);
  CHECK(html.find("url(") == std::string::npos);
  CHECK(html.find("<b>bull</b>") == std::string::npos);
  CHECK(html.find("&lt;b&gt;bull&lt;/b&gt;") != std::string::npos);
  CHECK(html.find("default-src 'none'") != std::string::npos);
  CHECK(html.find("no data") != std::string::npos);
  CHECK(html.find("nan") == std::string::npos);
  for (const char* tag : {"section", "table", "svg", "tr", "td", "div", "dl"}) {
    INFO(tag);
    const std::string open = std::string("<") + tag;
    CHECK(count_of(html, open + ">") + count_of(html, open + " ") ==
          count_of(html, std::string("</") + tag + ">"));
  }
}

TEST_CASE("html: a mail's body carries its style in its tags", "[unit][reporter]") {
  const std::string html = render_mail_html(report_of_day());
  CHECK(html.find("<style") == std::string::npos);
  CHECK(html.find("<svg") == std::string::npos);
  CHECK(html.find("+7.00") != std::string::npos);
  CHECK(html.find("p95 rose.") != std::string::npos);
}

TEST_CASE("chart: steps from point to point, and the drawdown below", "[unit][reporter]") {
  LineChart chart;
  chart.format = Format::signed_money;
  chart.from_ns = 0;
  chart.to_ns = 4;
  chart.points = {{0, 0}, {1, 10}, {2, 6}, {3, 7}};
  chart.has_drawdown = true;
  const std::string svg = chart_svg(chart, 0);
  // The plot is 644 wide: quarters at 161, 322, 483.
  CHECK(svg.find("class=\"main\" d=\"M0 180H161V") != std::string::npos);
  CHECK(svg.find("H322V") != std::string::npos);
  CHECK(svg.find("H644\"") != std::string::npos);
  CHECK(svg.find("class=\"under\"") != std::string::npos);
  chart.points = {{0, 0}, {1, 10}};
  CHECK(chart_svg(chart, 0).find("class=\"under\"") == std::string::npos);
  chart.points.clear();
  CHECK(chart_svg(chart, 0).empty());
}

TEST_CASE("chart: bars grow from zero to both sides", "[unit][reporter]") {
  BarChart chart;
  chart.format = Format::signed_money;
  chart.bars = {{"<a>", 100, ""}, {"b", -100, "3 trades"}};
  const std::string svg = chart_svg(chart);
  // 350 wide from 170: zero in the middle at 345.
  CHECK(svg.find("class=\"bar gain\" x=\"345\"") != std::string::npos);
  CHECK(svg.find("class=\"bar loss\" x=\"170\"") != std::string::npos);
  CHECK(svg.find("&lt;a&gt;") != std::string::npos);
}
