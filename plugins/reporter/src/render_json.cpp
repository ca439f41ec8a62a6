// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <ephor/json.hpp>
#include <ephor/times.hpp>

#include "render.hpp"

namespace ephor::reporter {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string_view name_of(Format format) {
  switch (format) {
    case Format::text:
      return "text";
    case Format::id:
      return "id";
    case Format::count:
      return "count";
    case Format::number:
      return "number";
    case Format::money:
      return "money";
    case Format::signed_money:
      return "signed_money";
    case Format::share:
      return "share";
    case Format::signed_share:
      return "signed_share";
    case Format::milliseconds:
      return "milliseconds";
    case Format::seconds:
      return "seconds";
    case Format::time:
      break;
  }
  return "time";
}

OrderedJson real_json(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

OrderedJson value_json(const Value& value, Format format) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* real = std::get_if<double>(&value)) return real_json(*real);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return format == Format::time ? OrderedJson(format_time(*integer)) : OrderedJson(*integer);
  }
  return nullptr;
}

OrderedJson text_json(const std::string& text) {
  return text.empty() ? OrderedJson() : OrderedJson(text);
}

OrderedJson block_json(const Figures& block) {
  OrderedJson figures = OrderedJson::array();
  for (const Figure& figure : block.figures) {
    OrderedJson one{{"id", figure.id},
                    {"label", figure.label},
                    {"format", name_of(figure.format)},
                    {"value", value_json(figure.value, figure.format)},
                    {"before", value_json(figure.before, figure.format)}};
    one["interval_95"] = figure.interval ? OrderedJson{real_json(figure.interval->first),
                                                       real_json(figure.interval->second)}
                                         : OrderedJson();
    one["context"] = text_json(figure.context);
    figures.push_back(std::move(one));
  }
  return {{"kind", "figures"}, {"id", block.id}, {"figures", std::move(figures)}};
}

OrderedJson block_json(const Table& block) {
  OrderedJson columns = OrderedJson::array();
  for (const Column& column : block.columns) {
    columns.push_back(
        {{"id", column.id}, {"label", column.label}, {"format", name_of(column.format)}});
  }
  OrderedJson rows = OrderedJson::array();
  for (const auto& row : block.rows) {
    OrderedJson one = OrderedJson::object();
    for (std::size_t i = 0; i < row.size() && i < block.columns.size(); ++i) {
      const Format format = row[i].format.value_or(block.columns[i].format);
      one[block.columns[i].id] = value_json(row[i].value, format);
      if (row[i].format) one["format"] = name_of(format);
    }
    rows.push_back(std::move(one));
  }
  OrderedJson out{{"kind", "table"},
                  {"id", block.id},
                  {"title", text_json(block.title)},
                  {"columns", std::move(columns)},
                  {"rows", std::move(rows)}};
  out["rows_total"] = block.rows_total ? OrderedJson(*block.rows_total)
                                       : OrderedJson(static_cast<std::int64_t>(block.rows.size()));
  out["empty"] = text_json(block.empty);
  out["note"] = text_json(block.note);
  return out;
}

OrderedJson block_json(const LineChart& block) {
  OrderedJson points = OrderedJson::array();
  for (const Point& point : block.points) {
    points.push_back({format_time(point.time_ns), real_json(point.value)});
  }
  return {{"kind", "line_chart"},
          {"id", block.id},
          {"title", text_json(block.title)},
          {"subtitle", text_json(block.subtitle)},
          {"format", name_of(block.format)},
          {"from", format_time(block.from_ns)},
          {"to", format_time(block.to_ns)},
          {"points", std::move(points)},
          {"has_drawdown", block.has_drawdown},
          {"empty", text_json(block.empty)}};
}

OrderedJson block_json(const BarChart& block) {
  OrderedJson bars = OrderedJson::array();
  for (const Bar& bar : block.bars) {
    bars.push_back({{"label", bar.label},
                    {"value", real_json(bar.value)},
                    {"context", text_json(bar.context)}});
  }
  return {{"kind", "bar_chart"},
          {"id", block.id},
          {"title", text_json(block.title)},
          {"subtitle", text_json(block.subtitle)},
          {"format", name_of(block.format)},
          {"bars", std::move(bars)},
          {"empty", text_json(block.empty)}};
}

OrderedJson block_json(const Note& block) {
  return {{"kind", "note"},
          {"severity", name_of(block.severity)},
          {"head", text_json(block.head)},
          {"text", block.text}};
}

OrderedJson sources_json(const Report& report) {
  OrderedJson out = OrderedJson::array();
  for (const SourceNote& source : report.sources) {
    OrderedJson one{{"query", source.query},
                    {"answered", source.has_answered},
                    {"of_period", source.is_of_period}};
    one["as_of_sequence"] =
        source.has_answered ? OrderedJson(source.as_of_sequence) : OrderedJson();
    one["error"] = text_json(source.error);
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::info:
      return "info";
    case Severity::low:
      return "low";
    case Severity::warning:
      return "warning";
    case Severity::critical:
      break;
  }
  return "critical";
}

std::string render_json(const Report& report) {
  OrderedJson sections = OrderedJson::array();
  for (const Section& section : report.sections) {
    OrderedJson blocks = OrderedJson::array();
    for (const Block& block : section.blocks) {
      blocks.push_back(std::visit([](const auto& one) { return block_json(one); }, block));
    }
    sections.push_back({{"id", section.id},
                        {"title", section.title},
                        {"lead", text_json(section.lead)},
                        {"blocks", std::move(blocks)}});
  }
  const OrderedJson out{{"schema", kModelSchema},
                        {"report_id", report.report_id},
                        {"report_type", report.report_type},
                        {"schedule_type", report.schedule_type},
                        {"title", report.title},
                        {"generated_at", format_time(report.generated_at_ns)},
                        {"over",
                         {{"from", format_time(report.from_ns)},
                          {"to", format_time(report.to_ns)},
                          {"previous_from", format_time(report.previous_from_ns)},
                          {"previous_to", format_time(report.from_ns)},
                          {"timezone", report.zone},
                          {"late", report.is_late}}},
                        {"sections", std::move(sections)},
                        {"sources", sources_json(report)}};
  return out.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace ephor::reporter
