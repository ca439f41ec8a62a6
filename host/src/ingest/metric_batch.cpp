// SPDX-License-Identifier: Apache-2.0
#include "ingest/metric_batch.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

constexpr std::int64_t kMantissaMax = 999'999'999'999'999;  // fifteen digits
constexpr unsigned kScaleMax = 15;
constexpr std::int64_t kIntegersMax = std::int64_t{1} << 53U;  // doubles hold each up to here

// What a row, a value and a name cost at most beside their own text.
constexpr std::size_t kRowBytes = 24;
constexpr std::size_t kValueBytes = 26;
constexpr std::size_t kSeriesBytes = 8;
constexpr std::size_t kNameBytes = 96;

constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr std::int64_t kIntegerPowers[] = {1,
                                           10,
                                           100,
                                           1'000,
                                           10'000,
                                           100'000,
                                           1'000'000,
                                           10'000'000,
                                           100'000'000,
                                           1'000'000'000,
                                           10'000'000'000,
                                           100'000'000'000,
                                           1'000'000'000'000,
                                           10'000'000'000'000,
                                           100'000'000'000'000,
                                           1'000'000'000'000'000};

DecimalValue real_of(double value) { return {std::bit_cast<std::int64_t>(value), 0, true}; }

// Text costs six times its length in JSON at worst.
std::size_t written_bytes(std::string_view text) {
  const bool is_plain = std::ranges::all_of(text, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && c != 0x7F;
  });
  return is_plain ? text.size() + 3 : text.size() * 6 + 3;
}

void append_integer(std::string& out, std::int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

// A short number with a comma behind it, in one go.
char* put_integer(char* out, std::int64_t value) {
  out = std::to_chars(out, out + 24, value).ptr;
  *out++ = ',';
  return out;
}

// "[a,b,c]" of `count` integers that `next` gives one after the other.
template <typename Next>
void append_integers(std::string& out, std::size_t count, Next&& next) {
  constexpr std::size_t kBytesMax = 21;  // sign, 19 digits, comma
  const std::size_t at = out.size();
  out.resize(at + 2 + count * kBytesMax);
  char* end = out.data() + at;
  *end++ = '[';
  for (std::size_t i = 0; i < count; ++i) end = put_integer(end, next(i));
  if (count > 0) --end;
  *end++ = ']';
  out.resize(static_cast<std::size_t>(end - out.data()));
}

// Running sums give `values` back; differences wrap around, as do the sums.
template <typename Value>
void append_deltas(std::string& out, std::size_t count, Value&& value) {
  std::uint64_t before = 0;
  append_integers(out, count, [&](std::size_t i) {
    const auto now = static_cast<std::uint64_t>(value(i));
    const auto delta = static_cast<std::int64_t>(now - before);
    before = now;
    return delta;
  });
}

unsigned digits_of(std::int64_t value) {
  const auto magnitude = static_cast<std::uint64_t>(value < 0 ? -value : value);
  // 1233 / 4096 is log10(2) near enough for 64 bits.
  const unsigned guess =
      (64U - static_cast<unsigned>(std::countl_zero(magnitude | 1U))) * 1233U >> 12U;
  const bool is_more = guess < std::size(kIntegerPowers) &&
                       magnitude >= static_cast<std::uint64_t>(kIntegerPowers[guess]);
  return guess + (is_more ? 1U : 0U) + (value < 0 ? 1U : 0U);
}

}  // namespace

double power_of_ten(unsigned exponent) { return kPowers[exponent]; }

double DecimalValue::number() const {
  if (is_real) return std::bit_cast<double>(mantissa);
  return static_cast<double>(mantissa) / kPowers[scale];
}

DecimalValue decimal_of(std::int64_t value) {
  if (value >= -kMantissaMax && value <= kMantissaMax) return {value, 0, false};
  return real_of(static_cast<double>(value));
}

DecimalValue decimal_of(double value) {
  if (std::abs(value) <= static_cast<double>(kMantissaMax)) {
    const auto integer = static_cast<std::int64_t>(value);
    if (value == 0.0 && std::signbit(value)) return real_of(value);
    if (static_cast<double>(integer) == value) return {integer, 0, false};
  }
  // d.ddde-XX with the fewest digits that read back the same.
  char text[32];
  const char* const end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
  std::int64_t mantissa = 0;
  int digits = 0;
  const char* at = text;
  for (; at != end && *at != 'e'; ++at) {
    if (*at < '0' || *at > '9') continue;
    if (++digits > static_cast<int>(kScaleMax)) return real_of(value);
    mantissa = mantissa * 10 + (*at - '0');
  }
  int exponent = 0;
  if (at != end) std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, exponent);
  const int scale = digits - 1 - exponent;
  if (scale < 0 || scale > static_cast<int>(kScaleMax)) return real_of(value);
  return {value < 0 ? -mantissa : mantissa, static_cast<std::uint8_t>(scale), false};
}

bool MetricBatch::is_full(std::size_t bytes) const {
  return sample_count_ >= limits_.samples_max || row_count_ >= limits_.samples_max ||
         (row_count_ > 0 && bytes_ + bytes * 6 + kRowBytes > limits_.bytes_max);
}

void MetricBatch::clear() {
  tables_.clear();
  table_index_.clear();
  row_count_ = 0;
  sample_count_ = 0;
  bytes_ = 0;
  newest_ns_ = INT64_MIN;
}

std::uint32_t MetricBatch::table(std::string_view key, std::span<const Label> labels) {
  const auto [found, is_new] =
      table_index_.try_emplace(std::string(key), static_cast<std::uint32_t>(tables_.size()));
  if (!is_new) return found->second;
  Table& made = tables_.emplace_back();
  bytes_ += kNameBytes;
  for (const auto& [name, value] : labels) {
    made.labels.emplace_back().name = name;
    bytes_ += written_bytes(name) + kNameBytes;
  }
  return found->second;
}

std::uint32_t MetricBatch::add_series(std::uint32_t table_number, std::span<const Label> labels) {
  Table& table = tables_[table_number];
  for (std::size_t i = 0; i < table.labels.size(); ++i) {
    LabelColumn& column = table.labels[i];
    const std::string_view value = labels[i].second;
    auto found = column.index.find(value);
    if (found == column.index.end()) {
      column.values.emplace_back(value);
      bytes_ += written_bytes(value);
      found =
          column.index
              .emplace(column.values.back(), static_cast<std::uint32_t>(column.values.size() - 1))
              .first;
    }
    column.of_series.push_back(found->second);
    bytes_ += kSeriesBytes;
  }
  bytes_ += kSeriesBytes;
  return table.series_count++;
}

std::uint32_t MetricBatch::column(std::uint32_t table_number, std::uint32_t expected,
                                  std::string_view key) {
  Table& table = tables_[table_number];
  if (expected < table.columns.size() && table.columns[expected].key == key) return expected;
  const auto found = table.column_index.find(key);
  if (found != table.column_index.end()) return found->second;
  Column& made = table.columns.emplace_back();
  made.key = key;
  const auto number = static_cast<std::uint32_t>(table.columns.size() - 1);
  table.column_index.emplace(made.key, number);
  return number;
}

bool MetricBatch::is_new_column(std::uint32_t table, std::uint32_t column) const {
  return tables_[table].columns[column].name.empty();
}

void MetricBatch::describe_column(std::uint32_t table, std::uint32_t column_number,
                                  std::string name, std::string_view kind, std::string_view unit) {
  Column& column = tables_[table].columns[column_number];
  bytes_ += written_bytes(name) + written_bytes(unit) + kNameBytes;
  column.name = std::move(name);
  column.kind = kind;
  column.unit = unit;
}

void MetricBatch::begin_row(std::uint32_t table_number, std::uint32_t series,
                            std::int64_t time_ns) {
  Table& table = tables_[table_number];
  table.row_series.push_back(series);
  table.row_times.push_back(time_ns);
  newest_ns_ = std::max(newest_ns_, time_ns);
  ++row_count_;
  bytes_ += kRowBytes;
}

// False: the row has a value there already, which is replaced.
bool MetricBatch::take_cell(std::uint32_t table, Column& column) {
  const auto row = static_cast<std::uint32_t>(tables_[table].row_series.size() - 1);
  if (!column.rows.empty() && column.rows.back() == row) return false;
  column.rows.push_back(row);
  ++sample_count_;
  bytes_ += kValueBytes;
  return true;
}

void MetricBatch::set(std::uint32_t table, std::uint32_t column_number, const DecimalValue& value) {
  Column& column = tables_[table].columns[column_number];
  if (take_cell(table, column)) {
    column.values.push_back(value);
  } else {
    column.values.back() = value;
  }
}

void MetricBatch::set_text(std::uint32_t table, std::uint32_t column_number,
                           std::string_view text) {
  Column& column = tables_[table].columns[column_number];
  if (take_cell(table, column)) column.texts.emplace_back();
  column.texts.back() = text;
  bytes_ += written_bytes(text);
}

void MetricBatch::set_histogram(std::uint32_t table, std::uint32_t column_number,
                                const DecimalValue& value, HistogramCounts histogram) {
  Column& column = tables_[table].columns[column_number];
  bytes_ += (histogram.bounds.size() + histogram.counts.size()) * kValueBytes;
  if (take_cell(table, column)) {
    column.values.emplace_back();
    column.histograms.emplace_back();
  }
  column.values.back() = value;
  column.histograms.back() = std::move(histogram);
}

void MetricBatch::set_member(std::uint32_t table, std::string_view name, std::string json) {
  bytes_ += name.size() + json.size() + kNameBytes;
  tables_[table].members.insert_or_assign(std::string(name), std::move(json));
}

void MetricBatch::add_exemplar(std::uint32_t table_number, std::string members) {
  Table& table = tables_[table_number];
  bytes_ += members.size() + kNameBytes;
  table.exemplars.push_back(
      {static_cast<std::uint32_t>(table.row_series.size() - 1), std::move(members)});
}

// ---- writing ------------------------------------------------------------------------------------

void MetricBatch::write(std::string& out) {
  out += R"({"tables":[)";
  bool is_first = true;
  for (const Table& table : tables_) {
    if (table.row_series.empty()) continue;
    if (!is_first) out += ',';
    is_first = false;
    write_table(out, table);
  }
  out += "]}";
}

// A counting sort: rows of a series stay in the order in which they came.
void MetricBatch::order_rows(const Table& table) {
  row_counts_.assign(table.series_count, 0);
  for (const std::uint32_t series : table.row_series) ++row_counts_[series];
  std::vector<std::uint32_t> starts(table.series_count, 0);
  std::exclusive_scan(row_counts_.begin(), row_counts_.end(), starts.begin(), 0U);
  order_.resize(table.row_series.size());
  ranks_.resize(table.row_series.size());
  for (std::uint32_t row = 0; row < table.row_series.size(); ++row) {
    const std::uint32_t rank = starts[table.row_series[row]]++;
    order_[rank] = row;
    ranks_[row] = rank;
  }
}

// The cells of a column as they are written.
void MetricBatch::order_cells(const Table& table, const Column& column) {
  if (column.rows.size() == table.row_series.size()) {
    cells_ = order_;
    return;
  }
  cells_.resize(column.rows.size());
  std::iota(cells_.begin(), cells_.end(), 0U);
  std::ranges::sort(cells_, {}, [&](std::uint32_t cell) { return ranks_[column.rows[cell]]; });
}

void MetricBatch::write_table(std::string& out, const Table& table) {
  order_rows(table);
  out += R"({"labels":[)";
  for (const LabelColumn& column : table.labels) {
    if (&column != table.labels.data()) out += ',';
    out += R"({"name":)";
    append_json_string(out, column.name);
    out += R"(,"values":[)";
    for (std::size_t i = 0; i < column.values.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, column.values[i]);
    }
    out += ']';
    if (column.values.size() > 1) {
      out += R"(,"deltas":)";
      append_deltas(out, column.of_series.size(),
                    [&](std::size_t i) { return column.of_series[i]; });
    }
    out += '}';
  }
  out += R"(],"rows":)";
  append_integers(out, row_counts_.size(), [&](std::size_t i) { return row_counts_[i]; });
  write_times(out, table);
  out += R"(,"columns":[)";
  for (const Column& column : table.columns) {
    if (column.rows.empty()) continue;
    write_column(out, table, column);
    out += ',';
  }
  if (out.back() == ',') out.pop_back();
  out += ']';
  if (!table.exemplars.empty()) {
    out += R"(,"exemplars":[)";
    for (const Exemplar& exemplar : table.exemplars) {
      out += R"({"row":)";
      append_integer(out, ranks_[exemplar.row]);
      ((out += ',') += exemplar.json) += "},";
    }
    out.back() = ']';
  }
  for (const auto& [name, json] : table.members) {
    out += ',';
    append_json_string(out, name);
    (out += ':') += json;
  }
  out += '}';
}

void MetricBatch::write_times(std::string& out, const Table& table) const {
  std::int64_t unit_ns = 1'000'000'000;
  for (const std::int64_t time_ns : table.row_times) {
    while (time_ns % unit_ns != 0) unit_ns /= 1000;
  }
  out += R"(,"times":{"unit_ns":)";
  append_integer(out, unit_ns);
  out += R"(,"deltas":)";
  append_deltas(out, order_.size(),
                [&](std::size_t i) { return table.row_times[order_[i]] / unit_ns; });
  out += '}';
}

void MetricBatch::write_column(std::string& out, const Table& table, const Column& column) {
  order_cells(table, column);
  out += R"({"name":)";
  append_json_string(out, column.name);
  for (const auto& [name, text] :
       {std::pair(R"(,"kind":)", &column.kind), std::pair(R"(,"unit":)", &column.unit)}) {
    if (text->empty()) continue;
    out += name;
    append_json_string(out, *text);
  }
  if (column.rows.size() < table.row_series.size()) {
    out += R"(,"rows":)";
    append_deltas(out, cells_.size(),
                  [&](std::size_t i) { return ranks_[column.rows[cells_[i]]]; });
  }
  if (!column.texts.empty()) {
    out += R"(,"texts":[)";
    for (const std::uint32_t cell : cells_) {
      append_json_string(out, column.texts[cell]);
      out += ',';
    }
    out.back() = ']';
  } else {
    write_numbers(out, column);
  }
  if (!column.histograms.empty()) {
    out += R"(,"histograms":[)";
    for (const std::uint32_t cell : cells_) {
      const HistogramCounts& histogram = column.histograms[cell];
      out += R"({"bounds":[)";
      for (const double bound : histogram.bounds) {
        append_json_double(out, bound);
        out += ',';
      }
      if (out.back() == ',') out.pop_back();
      out += R"(],"counts":)";
      append_integers(out, histogram.counts.size(), [&](std::size_t i) {
        return static_cast<std::int64_t>(histogram.counts[i]);
      });
      out += "},";
    }
    out.back() = ']';
  }
  out += '}';
}

// As integers of one scale if all are decimals that fit, and as their differences if those have
// fewer digits; as plain numbers otherwise.
void MetricBatch::write_numbers(std::string& out, const Column& column) const {
  unsigned scale = 0;
  bool is_decimal = true;
  for (const DecimalValue& value : column.values) {
    scale = std::max<unsigned>(scale, value.scale);
    is_decimal = is_decimal && !value.is_real;
  }
  const auto integer_of = [&](const DecimalValue& value) {
    return value.mantissa * kIntegerPowers[scale - value.scale];
  };
  for (const DecimalValue& value : column.values) {
    if (!is_decimal) break;
    is_decimal = std::abs(value.mantissa) <= kIntegersMax / kIntegerPowers[scale - value.scale];
  }
  if (!is_decimal) {
    out += R"(,"values":[)";
    for (const std::uint32_t cell : cells_) {
      append_json_double(out, column.values[cell].number());
      out += ',';
    }
    out.back() = ']';
    return;
  }
  std::size_t digits = 0;
  std::size_t delta_digits = 0;
  std::int64_t before = 0;
  for (const std::uint32_t cell : cells_) {
    const std::int64_t now = integer_of(column.values[cell]);
    digits += digits_of(now);
    delta_digits += digits_of(now - before);
    before = now;
  }
  if (scale > 0) {
    out += R"(,"scale":)";
    append_integer(out, scale);
  }
  const auto value = [&](std::size_t i) { return integer_of(column.values[cells_[i]]); };
  if (delta_digits < digits) {
    out += R"(,"deltas":)";
    append_deltas(out, cells_.size(), value);
  } else {
    out += scale > 0 ? R"(,"integers":)" : R"(,"values":)";
    append_integers(out, cells_.size(), value);
  }
}

}  // namespace ephor::host
