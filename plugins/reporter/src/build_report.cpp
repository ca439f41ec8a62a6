// SPDX-License-Identifier: Apache-2.0
#include "build_report.hpp"

#include <algorithm>
#include <array>

#include "sections.hpp"

namespace ephor::reporter {
namespace {

constexpr std::array<std::string_view, 3> kTypes{"performance", "models", "executive"};
constexpr std::size_t kAll = 200;
constexpr std::size_t kOnePage = 3;  // changes and findings of the executive summary

std::string title_of(std::string_view type) {
  if (type == "models") return "Model behaviour";
  return type == "executive" ? "Executive summary" : "Performance summary";
}

std::vector<Section> sections_of(std::string_view type, const Sources& sources,
                                 const Window& window) {
  if (type == "models") {
    return {models_section(sources, window), changes_section(sources, window, kAll),
            findings_section(sources, window, kAll), ensembles_section(sources, window),
            quality_section(sources, window)};
  }
  if (type == "executive") {
    return {headline_section(sources, window), equity_section(sources, window),
            changes_section(sources, window, kOnePage),
            findings_section(sources, window, kOnePage)};
  }
  return {headline_section(sources, window),       changes_section(sources, window, kAll),
          findings_section(sources, window, kAll), equity_section(sources, window),
          trades_section(sources, window),         models_section(sources, window),
          ensembles_section(sources, window),      components_section(sources, window),
          quality_section(sources, window)};
}

}  // namespace

std::span<const std::string_view> report_types() { return kTypes; }

bool is_report_type(std::string_view type) {
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

Report build_report(const ReportHead& head, const Sources& sources, const TimeZone& zone) {
  constexpr std::int64_t kSecondNs = 1'000'000'000;
  Report report;
  report.report_id = head.report_id;
  report.report_type = head.report_type;
  report.schedule_type = head.schedule_type;
  report.title = title_of(head.report_type);
  report.generated_at_ns = head.generated_at_ns;
  report.from_ns = head.window.from_ns;
  report.to_ns = head.window.to_ns;
  report.previous_from_ns = head.window.previous_from_ns;
  report.zone = zone.name();
  report.offset_from_s = zone.offset_s(report.from_ns / kSecondNs);
  report.offset_to_s = zone.offset_s(report.to_ns / kSecondNs);
  report.is_late = head.is_late;
  report.sections = sections_of(head.report_type, sources, head.window);
  for (const Source* source :
       {&sources.performance.now, &sources.performance.before, &sources.trades, &sources.models.now,
        &sources.models.before, &sources.tracing.now, &sources.tracing.before, &sources.errors,
        &sources.ensembles, &sources.regimes, &sources.alerts}) {
    report.sources.push_back(source->note);
  }
  for (const SourceNote& note : sources.summaries) report.sources.push_back(note);
  return report;
}

}  // namespace ephor::reporter
