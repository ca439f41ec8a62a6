// SPDX-License-Identifier: Apache-2.0
//
// A report as plain data: sections of figures, tables, charts and notes. Sections are made from
// what other plugins answer; renderers (JSON, HTML, later PDF) read nothing but this.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ephor::reporter {

// How a value is written for people; JSON keeps it as it is.
enum class Format {
  text,
  id,      // monospaced
  count,   // whole number
  number,  // four significant digits
  money,   // two decimals
  signed_money,
  share,  // 0.587 is 58.7 %
  signed_share,
  milliseconds,
  seconds,  // a duration
  time,     // nanoseconds since the Unix epoch
};

// No data is monostate, never 0. Times are integers.
using Value = std::variant<std::monostate, std::int64_t, double, std::string>;

struct Figure {
  std::string id;
  std::string label;
  Format format = Format::number;
  Value value;
  std::optional<std::pair<double, double>> interval;  // 95 %
  std::string context;                                // what it is over, why there is no data
  Value before;                                       // the same figure of the period before
};

struct Figures {
  std::string id;
  std::vector<Figure> figures;
};

// A value of a table; with a format of its own where the column's does not fit the row.
struct Field {
  template <typename Any>
  requires std::is_constructible_v<Value, Any> Field(Any&& any)
      : value(std::forward<Any>(any)) {}  // NOLINT: rows are written as lists of values
  Field(Value any, Format own) : value(std::move(any)), format(own) {}

  Value value;
  std::optional<Format> format;
};

struct Column {
  std::string id;
  std::string label;
  Format format = Format::text;
};

struct Table {
  std::string id;
  std::string title;
  std::vector<Column> columns;
  std::vector<std::vector<Field>> rows;
  std::string empty;                       // said instead of a table without rows
  std::optional<std::int64_t> rows_total;  // if it is cut
  std::string note;
};

struct Point {
  std::int64_t time_ns = 0;
  double value = 0.0;
};

// Values that hold until the next point, drawn as steps.
struct LineChart {
  std::string id;
  std::string title;
  std::string subtitle;
  Format format = Format::number;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::vector<Point> points;
  bool has_drawdown = false;  // also draws the distance to the greatest value so far
  std::string empty;
};

struct Bar {
  std::string label;
  double value = 0.0;
  std::string context;
};

struct BarChart {
  std::string id;
  std::string title;
  std::string subtitle;
  Format format = Format::number;
  std::vector<Bar> bars;
  std::string empty;
};

enum class Severity { info, low, warning, critical };

// A statement. Findings are notes with a severity.
struct Note {
  Severity severity = Severity::info;
  std::string head;
  std::string text;
};

using Block = std::variant<Figures, Table, LineChart, BarChart, Note>;

struct Section {
  std::string id;
  std::string title;
  std::string lead;  // the sentence that answers
  std::vector<Block> blocks;
};

// What was asked, and what came of it.
struct SourceNote {
  std::string query;
  bool has_answered = false;
  bool is_of_period = true;  // false: its figures are over all it knows
  std::uint64_t as_of_sequence = 0;
  std::string error;
};

struct Report {
  std::string report_id;
  std::string report_type;
  std::string schedule_type;  // "manual", "daily", ...
  std::string title;
  std::int64_t generated_at_ns = 0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::int64_t previous_from_ns = 0;
  std::string zone;
  std::int32_t offset_from_s = 0;  // of the zone at both ends, east positive
  std::int32_t offset_to_s = 0;
  bool is_late = false;
  std::vector<Section> sections;
  std::vector<SourceNote> sources;
};

}  // namespace ephor::reporter
