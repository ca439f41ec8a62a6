// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <random>

#include "build_report.hpp"
#include "render.hpp"
#include "reporter_support.hpp"
#include "sections.hpp"
#include "statistics.hpp"
#include "support/catch.hpp"

using namespace ephor::reporter;
using namespace ephor::reporter::testing;
using ephor::Json;

namespace {

Sources sources_of_day() { return collect(ask_all(), all_queries(), window_of_day(), {}); }

template <typename Kind>
const Kind* block_of(const Section& section, std::string_view id) {
  for (const Block& block : section.blocks) {
    const auto* found = std::get_if<Kind>(&block);
    if (found != nullptr && found->id == id) return found;
  }
  return nullptr;
}

const Figure* figure_of(const Section& section, std::string_view id) {
  for (const Block& block : section.blocks) {
    const auto* figures = std::get_if<Figures>(&block);
    if (figures == nullptr) continue;
    for (const Figure& one : figures->figures) {
      if (one.id == id) return &one;
    }
  }
  return nullptr;
}

double real_of(const Value& value) { return std::get<double>(value); }
// Puts something of another type somewhere into a document.
void damage(Json& json, std::mt19937_64& random) {
  if (json.is_structured() && !json.empty() && random() % 4 != 0) {
    auto member = json.begin();
    std::advance(member, static_cast<std::ptrdiff_t>(random() % json.size()));
    damage(*member, random);
    return;
  }
  const Json others[] = {nullptr, "text", -1, 1e300, true, Json::array({1, "x"}), Json::object()};
  json = others[random() % std::size(others)];
}

bool is_none(const Value& value) { return std::holds_alternative<std::monostate>(value); }

}  // namespace

// Wilson (1927); figures from Newcombe (1998), Stat. Med. 17, 857, table I: 81/263.
TEST_CASE("wilson: Newcombe's example", "[unit][reporter]") {
  const auto interval = wilson(81, 263);
  REQUIRE(interval.has_value());
  CHECK(std::abs(interval->first - 0.2553) < 5e-5);
  CHECK(std::abs(interval->second - 0.3662) < 5e-5);
  CHECK_FALSE(wilson(0, 0).has_value());
  CHECK_FALSE(wilson(3, 2).has_value());
}

// Newcombe (1998), Stat. Med. 17, 873, table II, method 10: 56/70 - 48/80.
TEST_CASE("newcombe: the paper's example", "[unit][reporter]") {
  const auto interval = newcombe(48, 80, 56, 70);
  REQUIRE(interval.has_value());
  CHECK(std::abs(interval->first - 0.0524) < 5e-5);
  CHECK(std::abs(interval->second - 0.3339) < 5e-5);
}

TEST_CASE("sources: a plugin that is not there or fails is a gap, not a failure",
          "[unit][reporter]") {
  const Sources sources = sources_of_day();
  CHECK(sources.performance.now.note.has_answered);
  CHECK(sources.performance.now.note.as_of_sequence == 42);
  CHECK_FALSE(sources.tracing.now.note.has_answered);
  CHECK(sources.tracing.now.note.error == "too slow");
  CHECK_FALSE(sources.ensembles.note.has_answered);
  CHECK(sources.best_trades.size() + sources.worst_trades.size() == 3);  // none of another day
  const Sources none = collect(ask_all(), {}, window_of_day(), {});
  const Report report = build_report({}, none, TimeZone::load("UTC"));
  for (const Section& section : report.sections) {
    for (const Block& block : section.blocks) {
      if (const auto* figures = std::get_if<Figures>(&block)) {
        for (const Figure& one : figures->figures) CHECK(is_none(one.value));
      }
      if (const auto* table = std::get_if<Table>(&block))
        CHECK((table->rows.empty() || table->id == "sources" || table->id == "changes"));
    }
  }
}

TEST_CASE("sources: findings are those that were open in the period, open and worst first",
          "[unit][reporter]") {
  const Sources sources = sources_of_day();
  REQUIRE(sources.findings.size() == 2);
  CHECK(sources.findings[0]["finding_id"] == "open");
  CHECK(sources.findings[1]["finding_id"] == "closed");
}

TEST_CASE("sources: an answer that does not say its period is not taken for it",
          "[unit][reporter]") {
  const Ask ask = [](std::string_view, std::string_view, std::uint64_t&) -> std::string {
    return R"({"pnl": 1, "closed": 1, "won": 1, "equity_curve": [{"time": "2017-11-08T01:00:00Z", "pnl": 1}]})";
  };
  const Sources sources = collect(ask, {"trade_tracker.performance"}, window_of_day(), {});
  CHECK_FALSE(sources.performance.now.note.is_of_period);
  CHECK(sources.performance.before.answer.is_null());
  const Section equity = equity_section(sources, window_of_day());
  CHECK(block_of<LineChart>(equity, "equity")->points.empty());
  const Section headline = headline_section(sources, window_of_day());
  CHECK(std::get<Note>(headline.blocks[0]).head == "Not of this period");
}

TEST_CASE("headline: figures, their intervals and those of the period before", "[unit][reporter]") {
  const Section section = headline_section(sources_of_day(), window_of_day());
  CHECK(section.lead.starts_with("Net P&L +7.00 over 3 trades closed; 66.7"));
  CHECK(real_of(figure_of(section, "pnl")->value) == 7.0);
  CHECK(real_of(figure_of(section, "pnl")->before) == -5.0);
  const Figure* win_rate = figure_of(section, "win_rate");
  // Wilson 2 of 3, by hand: centre (2/3 + z^2/6) / (1 + z^2/3).
  CHECK(std::abs(win_rate->interval->first - 0.2077) < 5e-5);
  CHECK(std::abs(win_rate->interval->second - 0.9385) < 5e-5);
  CHECK(real_of(figure_of(section, "max_drawdown")->value) == 4.0);
  CHECK(is_none(figure_of(section, "sharpe")->value));
}

TEST_CASE("equity: begins at zero where the period does", "[unit][reporter]") {
  const Section section = equity_section(sources_of_day(), window_of_day());
  const auto* chart = block_of<LineChart>(section, "equity");
  REQUIRE(chart->points.size() == 4);
  CHECK(chart->points[0].time_ns == kFrom);
  CHECK(chart->points[0].value == 0.0);
  CHECK(chart->points[3].value == 7.0);
}

TEST_CASE("trades: best and worst are different trades", "[unit][reporter]") {
  const Section section = trades_section(sources_of_day(), window_of_day());
  const auto* best = block_of<Table>(section, "best_trades");
  const auto* worst = block_of<Table>(section, "worst_trades");
  REQUIRE(best->rows.size() == 2);
  REQUIRE(worst->rows.size() == 1);
  CHECK(std::get<std::string>(best->rows[0][0].value) == "t1");
  CHECK(std::get<std::string>(worst->rows[0][0].value) == "t2");
  CHECK(real_of(best->rows[0][5].value) == 1800.0);  // held half an hour
}

TEST_CASE("changes: chance and change are told apart", "[unit][reporter]") {
  const Section section = changes_section(sources_of_day(), window_of_day(), 100);
  const auto* table = block_of<Table>(section, "changes");
  const auto row_of = [&](const std::string& what) {
    for (const auto& row : table->rows) {
      if (std::get<std::string>(row[0].value) == what) return row;
    }
    return std::vector<Field>();
  };
  // 160 of 400 to 240 of 400: +20 points, far beyond 1.96 standard errors of 3.5.
  const auto accuracy = row_of("Accuracy of m1");
  REQUIRE_FALSE(accuracy.empty());
  CHECK(std::get<std::string>(accuracy[8].value) == "more than chance");
  CHECK(std::get<std::string>(row_of("Trades won")[8].value) == "within chance");
  CHECK(section.lead.find("Accuracy of m1") != std::string::npos);
  CHECK(section.lead.find("Trades won") == std::string::npos);
  CHECK(std::get<std::string>(row_of("Failed spans")[8].value) == "no data to compare");
}

TEST_CASE("report: each kind has its sections", "[unit][reporter]") {
  const Sources sources = sources_of_day();
  const auto ids_of = [&](const std::string& type) {
    ReportHead head;
    head.report_type = type;
    head.window = window_of_day();
    std::string ids;
    const Report report = build_report(head, sources, TimeZone::load("UTC"));
    for (const Section& section : report.sections) ids += section.id + " ";
    return ids;
  };
  CHECK(ids_of("performance") ==
        "headline changes findings equity trades models ensembles components quality ");
  CHECK(ids_of("models") == "models changes findings ensembles quality ");
  CHECK(ids_of("executive") == "headline equity changes findings ");
}

TEST_CASE("log counters: series are summed over their labels", "[unit][reporter]") {
  const Json counters = log_counters(
      "# HELP ephor_log_events_total Events.\n# TYPE ephor_log_events_total counter\n"
      "ephor_log_events_total 280134\nephor_log_duplicate_records_total 8.05e+02\n"
      "ephor_ingest_rejected_records_total{instance=\"a\"} 2\n"
      "ephor_ingest_rejected_records_total{instance=\"b\"} 3\nother 9\n");
  CHECK(counters["events"] == 280134);
  CHECK(counters["duplicates"] == 805);
  CHECK(counters["rejected"] == 5);
  CHECK(counters["late"].is_null());
}

TEST_CASE("report: answers of any shape make a report", "[unit][reporter]") {
  std::mt19937_64 random(7);
  const Ask sound = ask_all();
  for (int i = 0; i < 300; ++i) {
    const Ask damaged = [&](std::string_view query, std::string_view request,
                            std::uint64_t& as_of) -> std::string {
      Json answer = Json::parse(sound(query, request, as_of));
      for (int times = 0; times < 3; ++times) damage(answer, random);
      return answer.dump();
    };
    ReportHead head;
    head.report_type = "performance";
    head.window = window_of_day();
    const Sources sources = collect(damaged, all_queries(), head.window, {});
    const Report report = build_report(head, sources, TimeZone::load("UTC"));
    CHECK_FALSE(render_html(report).empty());
    CHECK(Json::accept(render_json(report)));
  }
}
