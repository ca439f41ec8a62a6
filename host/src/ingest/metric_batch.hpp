// SPDX-License-Identifier: Apache-2.0
//
// Samples of one body on their way into few `ephor.metric_batch` events (docs/events.md): columns
// of numbers below a table of series, because an event for each sample costs a hundred times the
// bytes and the time. Values are kept as decimals wherever they are decimals, so that what is
// written is short and what is read back is the same double.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ephor::host {

// One value: mantissa / 10^scale with |mantissa| < 10^15, or any finite double.
struct DecimalValue {
  std::int64_t mantissa = 0;  // of a real: its bits
  std::uint8_t scale = 0;
  bool is_real = false;

  double number() const;
};

// The shortest decimal that reads back as `value`, which must be finite; a real if it has more than
// 15 digits or lies too far from 1.
DecimalValue decimal_of(double value);
DecimalValue decimal_of(std::int64_t value);
double power_of_ten(unsigned exponent);  // 0 to 22, exact

// Counts below ascending upper bounds; the last count is of what lies above all bounds.
struct HistogramCounts {
  std::vector<double> bounds;
  std::vector<std::uint64_t> counts;  // bounds.size() + 1
};

struct MetricBatchLimits {
  std::size_t samples_max = 16'384;     // and as many rows
  std::size_t bytes_max = 1000 * 1024;  // of what is written, estimated from above
};

// Takes rows, gives the JSON of `data`. One table holds the series with the same names of labels;
// one row of it the values that one series told at one time. Reused: keeps its memory.
class MetricBatch {
 public:
  using Label = std::pair<std::string_view, std::string_view>;

  explicit MetricBatch(const MetricBatchLimits& limits) : limits_(limits) {}

  bool empty() const { return row_count_ == 0; }
  // Whether what comes next, so many bytes of text as it arrived, might not fit.
  bool is_full(std::size_t bytes) const;
  void clear();

  // The table of `key`, made with these names of labels (distinct, valid UTF-8) if it is new.
  std::uint32_t table(std::string_view key, std::span<const Label> labels);
  // A new series of the table; `labels` in the order of the table's names.
  std::uint32_t add_series(std::uint32_t table, std::span<const Label> labels);
  // The column `key` of the table, made if it is new. `expected`: where it is looked for first.
  std::uint32_t column(std::uint32_t table, std::uint32_t expected, std::string_view key);
  bool is_new_column(std::uint32_t table, std::uint32_t column) const;
  void describe_column(std::uint32_t table, std::uint32_t column, std::string name,
                       std::string_view kind, std::string_view unit);

  void begin_row(std::uint32_t table, std::uint32_t series, std::int64_t time_ns);
  // Of the row that was begun last in the table. A column that is set twice keeps the last value.
  void set(std::uint32_t table, std::uint32_t column, const DecimalValue& value);
  void set_text(std::uint32_t table, std::uint32_t column, std::string_view text);
  void set_histogram(std::uint32_t table, std::uint32_t column, const DecimalValue& value,
                     HistogramCounts histogram);
  // A member of the table written as it is: `json` is one JSON value.
  void set_member(std::uint32_t table, std::string_view name, std::string json);
  // Something told about the row that was begun last: the members of an object, without braces.
  void add_exemplar(std::uint32_t table, std::string members);

  std::int64_t newest_ns() const { return newest_ns_; }
  // Appends {"tables": [...]}.
  void write(std::string& out);

 private:
  struct LabelColumn {
    std::string name;
    std::deque<std::string> values;
    std::unordered_map<std::string_view, std::uint32_t> index;  // into values
    std::vector<std::uint32_t> of_series;
  };
  struct Column {
    std::string key;
    std::string name;
    std::string kind;
    std::string unit;
    std::vector<std::uint32_t> rows;  // that have a value, ascending
    std::vector<DecimalValue> values;
    std::vector<std::string> texts;           // of a column of texts
    std::vector<HistogramCounts> histograms;  // of a column of histograms, beside values
  };
  struct Exemplar {
    std::uint32_t row = 0;
    std::string json;
  };
  struct Table {
    std::vector<LabelColumn> labels;
    std::deque<Column> columns;
    std::unordered_map<std::string_view, std::uint32_t> column_index;  // into columns' keys
    std::vector<std::uint32_t> row_series;
    std::vector<std::int64_t> row_times;
    std::uint32_t series_count = 0;
    std::map<std::string, std::string, std::less<>> members;
    std::vector<Exemplar> exemplars;
  };

  bool take_cell(std::uint32_t table, Column& column);
  void order_rows(const Table& table);
  void order_cells(const Table& table, const Column& column);
  void write_table(std::string& out, const Table& table);
  void write_times(std::string& out, const Table& table) const;
  void write_column(std::string& out, const Table& table, const Column& column);
  void write_numbers(std::string& out, const Column& column) const;

  MetricBatchLimits limits_;
  std::deque<Table> tables_;
  std::unordered_map<std::string, std::uint32_t> table_index_;
  // Of the table that is being written.
  std::vector<std::uint32_t> order_;       // rows, those of one series beside each other
  std::vector<std::uint32_t> ranks_;       // where each row is in it
  std::vector<std::uint32_t> row_counts_;  // of each series
  std::vector<std::uint32_t> cells_;       // of a column, in the order of ranks
  std::size_t row_count_ = 0;
  std::size_t sample_count_ = 0;
  std::size_t bytes_ = 0;
  std::int64_t newest_ns_ = INT64_MIN;
};

}  // namespace ephor::host
