// SPDX-License-Identifier: Apache-2.0
//
// Samples of metrics, whether they came one to an event (ephor.metric) or many (ephor.metric_batch;
// docs/events.md), read in one way: series by series, each with what the event tells of it.
//
//   MetricReader reader{host};
//   host.subscribe({"ephor.metric", "ephor.metric_batch"});
//   void on_event(const Event& event) override {
//     reader_.for_each_series(event, [&](const MetricSamples& series) {
//       for (const MetricSample& sample : series.samples) use(series.name, sample.value);
//     });
//   }
#pragma once

#include <ephor/events.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ephor {

struct MetricLabel {
  std::string_view name;
  std::string_view value;
  friend bool operator==(const MetricLabel&, const MetricLabel&) = default;
};

struct MetricSample {
  std::int64_t time_ns = 0;
  double value = 0.0;  // finite
};

// Observations at or below an upper bound, cumulative, as Prometheus counts them.
struct MetricBucket {
  double upper_bound = 0.0;  // may be infinite
  double count = 0.0;
};

struct MetricHistogram {
  std::int64_t time_ns = 0;
  std::vector<MetricBucket> buckets;  // ascending
};

// One series and its samples in one event. Views are valid until the visit returns.
struct MetricSamples {
  std::string_view name;
  std::string_view unit;
  std::string_view kind;                        // gauge, counter, delta, histogram; may be empty
  std::span<const MetricLabel> labels;          // by name, each once
  std::span<const MetricSample> samples;        // at least one, in the order they were told
  std::span<const MetricHistogram> histograms;  // of those that have buckets
};

// One per thread that reads; keeps its buffers. About 30 ns a sample of a batch.
class MetricReader {
 public:
  // Dimensions beside the labels of a single metric, and as much a part of what a series is.
  static constexpr std::array<std::string_view, 7> kDimensions{
      "account", "strategy", "environment", "currency", "symbol", "exchange", "timeframe"};
  static constexpr std::size_t kBucketsMax = 514;

  explicit MetricReader(const Host& host)
      : single_topic_(host.topic_id("ephor.metric")),
        batch_topic_(host.topic_id("ephor.metric_batch")) {}

  bool is_batch(const Event& event) const { return event.topic == batch_topic_; }

  // Calls `visit(const MetricSamples&)` for each series of the event; an event of another type has
  // none. Throws Error(EPHOR_INVALID) if the event is not what its type should be; of a batch, what
  // was sound before has been visited. Columns of texts are left out.
  template <typename Visit>
  void for_each_series(const Event& event, Visit&& visit) {
    if (event.topic != single_topic_ && !is_batch(event)) return;
    const simdjson::dom::object data = reader_.object(event);
    if (!is_batch(event)) return read_single(event, data, visit);
    simdjson::dom::array tables;
    if (data["tables"].get(tables) != simdjson::SUCCESS) bad("a batch without tables");
    for (const simdjson::dom::element table : tables) {
      read_table(table, event.time_ns);
      visit_table(visit);
    }
  }

 private:
  struct Column {
    std::string_view name, unit, kind;
    std::vector<std::uint32_t> rows;  // empty: every row
    std::vector<double> values;
    std::vector<simdjson::dom::element> histograms;
  };
  struct LabelColumn {
    std::string_view name;
    std::vector<std::string_view> values;
    std::vector<std::uint32_t> of_series;  // empty: the first value
  };

  [[noreturn]] static void bad(const std::string& what) { throw Error(EPHOR_INVALID, what); }

  // ---- one metric

  template <typename Visit>
  void read_single(const Event& event, simdjson::dom::object data, Visit& visit) {
    MetricSamples out;
    std::optional<double> value;
    std::optional<simdjson::dom::element> labels;
    std::optional<simdjson::dom::element> buckets;
    labels_.clear();
    texts_.clear();
    for (const auto& [key, member] : data) {
      if (key == "name")
        out.name = EventReader::text(member);
      else if (key == "value")
        value = EventReader::number(member);
      else if (key == "unit")
        out.unit = EventReader::text(member);
      else if (key == "kind")
        out.kind = EventReader::text(member);
      else if (key == "labels")
        labels = member;
      else if (key == "buckets")
        buckets = member;
      else if (std::find(kDimensions.begin(), kDimensions.end(), key) != kDimensions.end())
        add_label(key, member);
    }
    if (out.name.empty() || !value || !std::isfinite(*value)) bad("a metric without name or value");
    if (labels && labels->is_object()) {
      const simdjson::dom::object object = labels->get_object().value_unsafe();
      for (const auto& [key, member] : object) add_label(key, member);
    }
    sort_labels();
    out.labels = labels_;
    const MetricSample sample{event.time_ns, *value};
    out.samples = {&sample, 1};
    MetricHistogram histogram{event.time_ns, {}};
    const bool has_buckets = buckets && read_buckets(*buckets, histogram.buckets);
    if (has_buckets) out.histograms = {&histogram, 1};
    visit(static_cast<const MetricSamples&>(out));
    if (buckets && !has_buckets) bad("buckets that are not cumulative counts");
  }

  void add_label(std::string_view name, simdjson::dom::element value) {
    if (value.is_null()) return;
    if (value.is_string()) {
      labels_.push_back({name, EventReader::text(value)});
      return;
    }
    texts_.push_back(simdjson::minify(value));
    labels_.push_back({name, texts_.back()});
  }

  // A label of the labels object wins over a dimension of its name, being added later.
  void sort_labels() {
    std::stable_sort(labels_.begin(), labels_.end(),
                     [](const MetricLabel& a, const MetricLabel& b) { return a.name < b.name; });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      if (i + 1 < labels_.size() && labels_[i + 1].name == labels_[i].name) continue;
      labels_[kept++] = labels_[i];
    }
    labels_.resize(kept);
  }

  static std::optional<double> bound_of(std::string_view text) {
    if (text == "+Inf" || text == "Inf" || text == "inf" || text == "+inf") {
      return std::numeric_limits<double>::infinity();
    }
    double bound = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bound);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return bound;
  }
  static std::optional<double> bound_of(simdjson::dom::element value) {
    if (const auto number = EventReader::number(value)) return number;
    return bound_of(EventReader::text(value));
  }

  // {"0.1": 3, "+Inf": 7}, [[0.1, 3], ...] or [{"le": 0.1, "count": 3}, ...], counts cumulative.
  static bool read_buckets(simdjson::dom::element value, std::vector<MetricBucket>& out) {
    const auto add = [&](std::optional<double> bound, std::optional<double> count) {
      out.push_back({bound.value_or(std::nan("")), count.value_or(-1.0)});
    };
    if (value.is_object()) {
      const simdjson::dom::object object = value.get_object().value_unsafe();
      for (const auto& [key, count] : object) add(bound_of(key), EventReader::number(count));
    } else if (value.is_array()) {
      const simdjson::dom::array array = value.get_array().value_unsafe();
      for (const simdjson::dom::element element : array) {
        simdjson::dom::element bound;
        simdjson::dom::element count;
        const bool is_good = element.is_array()
                                 ? element.at(0).get(bound) == simdjson::SUCCESS &&
                                       element.at(1).get(count) == simdjson::SUCCESS
                                 : element["le"].get(bound) == simdjson::SUCCESS &&
                                       element["count"].get(count) == simdjson::SUCCESS;
        if (!is_good) return false;
        add(bound_of(bound), EventReader::number(count));
      }
    }
    if (out.empty() || out.size() > kBucketsMax) return false;
    std::sort(out.begin(), out.end(), [](const MetricBucket& a, const MetricBucket& b) {
      return a.upper_bound < b.upper_bound;
    });
    double before = 0.0;
    for (const MetricBucket& bucket : out) {
      if (std::isnan(bucket.upper_bound) || !(bucket.count >= before)) return false;
      before = bucket.count;
    }
    return true;
  }

  // ---- a table of a batch

  static simdjson::dom::array array_of(simdjson::dom::element value) {
    simdjson::dom::array out;
    if (value.get(out) != simdjson::SUCCESS) bad("a member of a batch that is no array");
    return out;
  }

  // The running sums of "deltas", each below `limit`.
  static void read_indices(simdjson::dom::element value, std::size_t limit,
                           std::vector<std::uint32_t>& out) {
    out.clear();
    std::int64_t sum = 0;
    for (const simdjson::dom::element one : array_of(value)) {
      std::int64_t delta = 0;
      if (one.get(delta) != simdjson::SUCCESS || __builtin_add_overflow(sum, delta, &sum) ||
          sum < 0 || static_cast<std::uint64_t>(sum) >= limit) {
        bad("an index of a batch that points nowhere");
      }
      out.push_back(static_cast<std::uint32_t>(sum));
    }
  }

  void read_table(simdjson::dom::element table, std::int64_t newest_ns) {
    simdjson::dom::object object;
    if (table.get(object) != simdjson::SUCCESS) bad("a table of a batch that is no object");
    simdjson::dom::element labels, rows, times, columns;
    if (object["labels"].get(labels) != simdjson::SUCCESS ||
        object["rows"].get(rows) != simdjson::SUCCESS ||
        object["times"].get(times) != simdjson::SUCCESS ||
        object["columns"].get(columns) != simdjson::SUCCESS) {
      bad("a table of a batch without labels, rows, times or columns");
    }
    read_times(times, newest_ns);
    read_rows(rows);
    const simdjson::dom::array label_list = array_of(labels);
    label_columns_.resize(label_list.size());
    std::size_t at = 0;
    for (const simdjson::dom::element label : label_list) read_label(label, label_columns_[at++]);
    std::sort(label_columns_.begin(), label_columns_.end(),
              [](const LabelColumn& a, const LabelColumn& b) { return a.name < b.name; });
    const simdjson::dom::array column_list = array_of(columns);
    columns_.resize(column_list.size());
    at = 0;
    for (const simdjson::dom::element column : column_list) read_column(column, columns_[at++]);
  }

  // No sample is newer than its event, whose time the door has checked.
  void read_times(simdjson::dom::element times, std::int64_t newest_ns) {
    std::int64_t unit_ns = 0;
    simdjson::dom::element deltas;
    if (times["unit_ns"].get(unit_ns) != simdjson::SUCCESS || unit_ns < 1 ||
        times["deltas"].get(deltas) != simdjson::SUCCESS) {
      bad("times of a batch without unit_ns or deltas");
    }
    times_.clear();
    std::uint64_t sum = 0;
    for (const simdjson::dom::element one : array_of(deltas)) {
      std::int64_t delta = 0;
      if (one.get(delta) != simdjson::SUCCESS) bad("a time of a batch that is no integer");
      sum += static_cast<std::uint64_t>(delta);
      const std::uint64_t time_ns = sum * static_cast<std::uint64_t>(unit_ns);
      times_.push_back(std::min(static_cast<std::int64_t>(time_ns), newest_ns));
    }
  }

  // How many rows each series has; together as many as there are times.
  void read_rows(simdjson::dom::element rows) {
    row_starts_.assign(1, 0);
    for (const simdjson::dom::element one : array_of(rows)) {
      std::uint64_t count = 0;
      if (one.get(count) != simdjson::SUCCESS || count > times_.size() - row_starts_.back()) {
        bad("rows of a batch that are more than its times");
      }
      row_starts_.push_back(row_starts_.back() + static_cast<std::uint32_t>(count));
    }
    if (row_starts_.back() != times_.size()) bad("rows of a batch that are fewer than its times");
  }

  void read_label(simdjson::dom::element label, LabelColumn& out) {
    simdjson::dom::element values, deltas;
    if (label["name"].get(out.name) != simdjson::SUCCESS ||
        label["values"].get(values) != simdjson::SUCCESS) {
      bad("a label of a batch without name or values");
    }
    out.values.clear();
    for (const simdjson::dom::element value : array_of(values)) {
      out.values.push_back(EventReader::text(value));
    }
    out.of_series.clear();
    if (label["deltas"].get(deltas) == simdjson::SUCCESS) {
      read_indices(deltas, out.values.size(), out.of_series);
    }
    const std::size_t series_count = row_starts_.size() - 1;
    const bool is_constant = out.of_series.empty() && out.values.size() == 1;
    if (!is_constant && out.of_series.size() != series_count) {
      bad("a label of a batch that not every series has");
    }
  }

  void read_column(simdjson::dom::element column, Column& out) {
    simdjson::dom::object object;
    if (column.get(object) != simdjson::SUCCESS) bad("a column of a batch that is no object");
    out = {};
    std::optional<simdjson::dom::element> values, integers, deltas, rows, histograms;
    std::uint64_t scale = 0;
    for (const auto& [key, member] : object) {
      if (key == "name")
        out.name = EventReader::text(member);
      else if (key == "kind")
        out.kind = EventReader::text(member);
      else if (key == "unit")
        out.unit = EventReader::text(member);
      else if (key == "values")
        values = member;
      else if (key == "integers")
        integers = member;
      else if (key == "deltas")
        deltas = member;
      else if (key == "rows")
        rows = member;
      else if (key == "histograms")
        histograms = member;
      else if (key == "scale" && (member.get(scale) != simdjson::SUCCESS || scale > 22))
        bad("a scale of a batch above 22");
    }
    if (!values && !integers && !deltas) return;  // of texts
    if (out.name.empty()) bad("a column of a batch without name");
    if (values) {
      for (const simdjson::dom::element one : array_of(*values)) {
        double value = 0.0;
        if (one.get(value) != simdjson::SUCCESS) bad("a value of a batch that is no number");
        out.values.push_back(value);
      }
    } else {
      read_scaled(integers ? *integers : *deltas, !integers, static_cast<unsigned>(scale), out);
    }
    if (rows) {
      read_indices(*rows, times_.size(), out.rows);
      if (!std::is_sorted(out.rows.begin(), out.rows.end())) bad("rows of a column out of order");
    }
    if (out.values.size() != (rows ? out.rows.size() : times_.size())) {
      bad("a column of a batch with another number of values than rows");
    }
    if (!histograms) return;
    for (const simdjson::dom::element one : array_of(*histograms)) out.histograms.push_back(one);
    if (out.histograms.size() != out.values.size()) bad("histograms that are not one a value");
  }

  static void read_scaled(simdjson::dom::element list, bool is_delta, unsigned scale, Column& out) {
    static constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                         1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                         1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const double power = kPowers[scale];
    std::uint64_t sum = 0;
    for (const simdjson::dom::element one : array_of(list)) {
      std::int64_t integer = 0;
      if (one.get(integer) != simdjson::SUCCESS) bad("a number of a batch that is no integer");
      sum = static_cast<std::uint64_t>(integer) + (is_delta ? sum : 0);
      // Both are exact, so the quotient is the double nearest to the decimal.
      out.values.push_back(static_cast<double>(static_cast<std::int64_t>(sum)) / power);
    }
  }

  // {"bounds": [0.1, 1], "counts": [3, 4, 0]}: counts between bounds, the last above all.
  static void read_histogram(simdjson::dom::element value, std::vector<MetricBucket>& out) {
    simdjson::dom::element bounds, counts;
    if (value["bounds"].get(bounds) != simdjson::SUCCESS ||
        value["counts"].get(counts) != simdjson::SUCCESS) {
      bad("a histogram of a batch without bounds or counts");
    }
    out.clear();
    for (const simdjson::dom::element bound : array_of(bounds)) {
      double upper_bound = 0.0;
      if (bound.get(upper_bound) != simdjson::SUCCESS ||
          (!out.empty() && upper_bound <= out.back().upper_bound)) {
        bad("bounds of a histogram that do not ascend");
      }
      out.push_back({upper_bound, 0.0});
    }
    out.push_back({std::numeric_limits<double>::infinity(), 0.0});
    std::size_t at = 0;
    double sum = 0.0;
    for (const simdjson::dom::element count : array_of(counts)) {
      std::uint64_t number = 0;
      if (at == out.size() || count.get(number) != simdjson::SUCCESS) {
        bad("counts of a histogram that do not fit its bounds");
      }
      out[at++].count = sum += static_cast<double>(number);
    }
    if (at != out.size() || out.size() > kBucketsMax) {
      bad("counts of a histogram that do not fit its bounds");
    }
  }

  template <typename Visit>
  void visit_table(Visit& visit) {
    cursors_.assign(columns_.size(), 0);
    for (std::size_t series = 0; series + 1 < row_starts_.size(); ++series) {
      const std::uint32_t begin = row_starts_[series];
      const std::uint32_t end = row_starts_[series + 1];
      if (begin == end) continue;
      labels_.clear();
      for (const LabelColumn& label : label_columns_) {
        const std::uint32_t value = label.of_series.empty() ? 0 : label.of_series[series];
        labels_.push_back({label.name, label.values[value]});
      }
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (!columns_[i].values.empty()) visit_column(columns_[i], cursors_[i], begin, end, visit);
      }
    }
  }

  template <typename Visit>
  void visit_column(const Column& column, std::size_t& cursor, std::uint32_t begin,
                    std::uint32_t end, Visit& visit) {
    samples_.clear();
    histograms_.clear();
    const auto add = [&](std::size_t cell, std::uint32_t row) {
      if (!std::isfinite(column.values[cell])) bad("a value of a batch that is not finite");
      samples_.push_back({times_[row], column.values[cell]});
      if (column.histograms.empty()) return;
      read_histogram(column.histograms[cell], histograms_.emplace_back().buckets);
      histograms_.back().time_ns = times_[row];
    };
    if (column.rows.empty()) {
      for (std::uint32_t row = begin; row < end; ++row) add(row, row);
    } else {
      for (; cursor < column.rows.size() && column.rows[cursor] < end; ++cursor) {
        add(cursor, column.rows[cursor]);
      }
    }
    if (samples_.empty()) return;
    visit(MetricSamples{column.name, column.unit, column.kind, labels_, samples_, histograms_});
  }

  EventReader reader_;
  std::uint32_t single_topic_;
  std::uint32_t batch_topic_;
  // Of the event or table in hand.
  std::vector<MetricLabel> labels_;
  std::deque<std::string> texts_;  // of labels that are no texts
  std::vector<std::int64_t> times_;
  std::vector<std::uint32_t> row_starts_;  // of each series, and the end
  std::vector<LabelColumn> label_columns_;
  std::vector<Column> columns_;
  std::vector<std::size_t> cursors_;  // of columns with rows of their own
  std::vector<MetricSample> samples_;
  std::vector<MetricHistogram> histograms_;
};

}  // namespace ephor
