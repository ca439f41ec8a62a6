// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sections.hpp"
#include "statistics.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

constexpr std::size_t kOperationsMost = 20;
constexpr std::size_t kErrorsMost = 12;
constexpr std::size_t kAlertsMost = 20;

Value word(const std::string& found) { return found.empty() ? Value() : Value(found); }

Severity severity_of(const Json& finding) {
  if (text(finding, "/state") != "open") return Severity::info;
  const std::string severity = text(finding, "/severity");
  return severity == "critical"  ? Severity::critical
         : severity == "warning" ? Severity::warning
                                 : Severity::low;
}

std::string when_of(const Json& finding, const Window& window) {
  std::string out;
  if (const auto onset = time(finding, "/onset")) out += " Since " + moment(window, *onset);
  if (const auto found = time(finding, "/detected"))
    out += (out.empty() ? " Found " : ", found ") + moment(window, *found);
  if (const auto closed = time(finding, "/closed")) out += ", over at " + moment(window, *closed);
  return out.empty() ? out : out + ".";
}

Table alert_table(const Sources& sources) {
  Table table;
  table.id = "alerts";
  table.title = "Alerts";
  table.columns = {{"opened_at", "Opened", Format::time}, {"severity", "Severity", Format::text},
                   {"kind", "Kind", Format::text},        {"target", "Target", Format::text},
                   {"state", "State", Format::text},      {"resolved_at", "Resolved", Format::time},
                   {"summary", "Summary", Format::text}};
  table.empty = sources.alerts.note.has_answered ? "No alert in this period."
                                                 : no_data_because(sources.alerts);
  const auto is_told = [&](const Json& alert) {
    return std::any_of(sources.findings.begin(), sources.findings.end(), [&](const Json& one) {
      return text(one, "/kind") == text(alert, "/kind") &&
             text(one, "/target") == text(alert, "/target");
    });
  };
  const Json* alerts = find(sources.alerts.answer, "/alerts");
  if (alerts == nullptr || !alerts->is_array()) return table;
  for (const Json& alert : *alerts) {
    if (table.rows.size() == kAlertsMost) break;
    table.rows.push_back(
        {value(time(alert, "/opened_at")), word(text(alert, "/severity")),
         word(text(alert, "/kind")), word(text(alert, "/target")), word(text(alert, "/state")),
         value(time(alert, "/resolved_at")),
         is_told(alert) ? Value("see the finding above") : word(text(alert, "/summary"))});
  }
  table.rows_total = static_cast<std::int64_t>(alerts->size());
  return table;
}

Table latency_table(const Sources& sources, std::string_view pointer, const std::string& id,
                    const std::string& title, bool has_operation) {
  const Source& source = sources.tracing.now;
  Table table;
  table.id = id;
  table.title = title;
  table.columns = {{"component", "Component", Format::text}};
  if (has_operation) table.columns.push_back({"operation", "Operation", Format::text});
  for (const Column& column :
       {Column{"count", "Spans", Format::count}, Column{"errors", "Errors", Format::count},
        Column{"error_rate", "Error rate", Format::share},
        Column{"p50_ms", "p50", Format::milliseconds},
        Column{"p95_ms", "p95", Format::milliseconds},
        Column{"p99_ms", "p99", Format::milliseconds},
        Column{"p95_before_ms", "p95 before", Format::milliseconds}}) {
    table.columns.push_back(column);
  }
  table.empty = source.note.has_answered ? "No spans in this period." : no_data_because(source);
  const Json* rows = find(source.answer, pointer);
  const Json* earlier = find(sources.tracing.before.answer, pointer);
  if (rows == nullptr || !rows->is_array()) return table;
  std::vector<const Json*> sorted;
  for (const Json& row : *rows) {
    if (integer(row, "/count").value_or(0) > 0) sorted.push_back(&row);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Json* a, const Json* b) {
    const double left = real(*a, "/p95_ms").value_or(0);
    const double right = real(*b, "/p95_ms").value_or(0);
    return left > right;
  });
  for (const Json* row : sorted) {
    if (table.rows.size() == kOperationsMost) break;
    Value p95_before;
    if (earlier != nullptr && earlier->is_array()) {
      for (const Json& one : *earlier) {
        if (text(one, "/component") == text(*row, "/component") &&
            text(one, "/operation") == text(*row, "/operation"))
          p95_before = value(real(one, "/p95_ms"));
      }
    }
    std::vector<Field> cells{word(text(*row, "/component"))};
    if (has_operation) cells.push_back(word(text(*row, "/operation")));
    cells.push_back(value(integer(*row, "/count")));
    cells.push_back(value(integer(*row, "/errors")));
    for (const std::string_view figure : {"/error_rate", "/p50_ms", "/p95_ms", "/p99_ms"})
      cells.push_back(value(real(*row, figure)));
    cells.push_back(p95_before);
    table.rows.push_back(std::move(cells));
  }
  table.rows_total = static_cast<std::int64_t>(sorted.size());
  return table;
}

Table error_table(const Sources& sources, const Window& window) {
  Table table;
  table.id = "error_groups";
  table.title = "Errors by message";
  table.columns = {
      {"component", "Component", Format::text}, {"operation", "Operation", Format::text},
      {"message", "Message", Format::text},     {"count", "Count", Format::count},
      {"first_seen", "First", Format::time},    {"last_seen", "Last", Format::time}};
  table.empty = sources.errors.note.has_answered ? "No errors in this period."
                                                 : no_data_because(sources.errors);
  if (!sources.errors.note.is_of_period)
    table.note = "Counts are over all time; shown are the groups seen in this period.";
  const Json* groups = find(sources.errors.answer, "/groups");
  if (groups == nullptr || !groups->is_array()) return table;
  std::int64_t total = 0;
  for (const Json& group : *groups) {
    const auto first = time(group, "/first_seen");
    const auto last = time(group, "/last_seen");
    if ((first && *first >= window.to_ns) || (last && *last < window.from_ns)) continue;
    ++total;
    if (table.rows.size() == kErrorsMost) continue;
    table.rows.push_back({word(text(group, "/component")), word(text(group, "/operation")),
                          word(text(group, "/message")), value(integer(group, "/count")),
                          value(first), value(last)});
  }
  table.rows_total = total;
  return table;
}

}  // namespace

Section findings_section(const Sources& sources, const Window& window, std::size_t most) {
  Section section{"findings", "Findings", "", {}};
  const auto open = std::count_if(sources.findings.begin(), sources.findings.end(),
                                  [](const Json& one) { return text(one, "/state") == "open"; });
  const auto all = static_cast<std::int64_t>(sources.findings.size());
  const bool has_answer = std::any_of(sources.summaries.begin(), sources.summaries.end(),
                                      [](const SourceNote& note) { return note.has_answered; });
  if (!has_answer)
    section.lead = "No data: no plugin that makes findings is there.";
  else if (all == 0)
    section.lead = "Nothing needed attention in this period.";
  else
    section.lead = whole(all) + (all == 1 ? " finding" : " findings") + " in this period, " +
                   whole(open) + " still open when the report was made.";
  for (const Json& finding : sources.findings) {
    if (section.blocks.size() == most) break;
    std::string head = text(finding, "/kind") + " " + text(finding, "/target");
    if (text(finding, "/state") != "open") head += " (closed)";
    section.blocks.push_back(Note{severity_of(finding), std::move(head),
                                  text(finding, "/summary") + when_of(finding, window)});
  }
  if (sources.findings.size() > most) {
    section.blocks.push_back(
        Note{Severity::info, "", whole(all - static_cast<std::int64_t>(most)) + " more findings."});
  }
  section.blocks.push_back(alert_table(sources));
  return section;
}

Section components_section(const Sources& sources, const Window& window) {
  const Source& source = sources.tracing.now;
  Section section{"components", "Latency and errors", "", {}};
  add_period_note(source, section);
  if (!source.note.has_answered) {
    section.lead = no_data_because(source);
  } else if (const auto count = integer(source.answer, "/all/count"); count && *count > 0) {
    const std::int64_t errors = integer(source.answer, "/all/errors").value_or(0);
    section.lead = whole(errors) + " of " + whole(*count) + " spans failed (" +
                   share(static_cast<double>(errors) / static_cast<double>(*count)) + ").";
  }
  section.blocks.push_back(
      latency_table(sources, "/components", "components", "By component", false));
  Table operations = latency_table(sources, "/operations", "operations", "By operation", true);
  operations.note = period_note(source, window);
  section.blocks.push_back(std::move(operations));
  section.blocks.push_back(error_table(sources, window));
  return section;
}

Section quality_section(const Sources& sources, const Window&) {
  Section section{"quality", "Data quality", "", {}};
  Figures joining{"joining", {}};
  const Json& models = sources.models.now.answer;
  const auto add = [](Figures& block, const char* id, const char* label, const Json& from,
                      std::string_view pointer, std::string context) {
    block.figures.push_back({id, label, Format::count, value(integer(from, pointer)), std::nullopt,
                             std::move(context), Value()});
  };
  const std::string since = "since the first event";
  add(joining, "predictions", "Predictions", models, "/joining/predictions", since);
  add(joining, "outcomes_joined", "With a known outcome", models, "/joining/joined", since);
  add(joining, "predictions_waiting", "Waiting for an outcome", models,
      "/joining/predictions_waiting", "at the end of the log");
  add(joining, "predictions_expired", "Outcome missing", models, "/joining/predictions_expired",
      "given up, " + since);
  add(joining, "outcomes_late", "Late events", models, "/joining/late",
      "predictions and outcomes, " + since);
  add(joining, "malformed", "Unreadable", models, "/joining/malformed", since);
  add(joining, "closed_without_pnl", "Trades without P&L", sources.performance.now.answer,
      "/closed_without_pnl", "closed in the period");
  section.blocks.push_back(std::move(joining));

  Figures log{"log", {}};
  const Json& counters = sources.log.answer;
  const std::string start = "since Ephor's start";
  add(log, "events", "Events taken", counters, "/events", start);
  add(log, "duplicates", "Duplicates dropped", counters, "/duplicates", start);
  add(log, "late", "Late", counters, "/late", start);
  add(log, "rejected", "Refused", counters, "/rejected", start);
  section.blocks.push_back(std::move(log));

  Table over;
  over.id = "sources";
  over.title = "What this report was made from";
  over.columns = {{"query", "Query", Format::id},
                  {"over", "Over", Format::text},
                  {"as_of", "As of sequence", Format::count},
                  {"state", "State", Format::text}};
  const auto row = [&](const SourceNote& note, const char* span) {
    over.rows.push_back({note.query, note.has_answered ? Value(span) : Value(),
                         note.has_answered && note.as_of_sequence > 0
                             ? Value(static_cast<std::int64_t>(note.as_of_sequence))
                             : Value(),
                         note.has_answered ? Value("answered") : Value(note.error)});
  };
  for (const Source* source :
       {&sources.performance.now, &sources.trades, &sources.models.now, &sources.tracing.now,
        &sources.errors, &sources.ensembles, &sources.regimes, &sources.alerts}) {
    row(source->note, source->note.is_of_period ? "the period" : "all time");
  }
  for (const SourceNote& note : sources.summaries) row(note, "findings");
  section.blocks.push_back(std::move(over));
  return section;
}

}  // namespace ephor::reporter
