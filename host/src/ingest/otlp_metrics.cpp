// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_metrics.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "event/hex.hpp"
#include "ingest/json_text.hpp"
#include "ingest/metric_events.hpp"
#include "ingest/otlp_request.hpp"

namespace ephor::host {
namespace {

constexpr std::string_view kNames[3] = {"resourceMetrics", "scopeMetrics", "metrics"};
constexpr std::uint64_t kCountMax = std::uint64_t{1} << 53U;  // doubles hold each up to here
constexpr std::uint64_t kNoRecordedValue = 1;                 // of a point's flags
constexpr int kScaleMax = 20;                                 // of an exponential histogram
constexpr int kScaleMin = -10;

enum class Shape : std::uint8_t { number, histogram, exponential, summary };

// The member of Metric that a point is below.
struct PointsKind {
  std::uint32_t field;
  std::string_view name;
  Shape shape;
  std::uint32_t attributes;  // numbers of the point's fields
  std::uint32_t time;
  std::uint32_t flags;
};
constexpr PointsKind kPointsKinds[] = {{5, "gauge", Shape::number, 7, 3, 8},
                                       {7, "sum", Shape::number, 7, 3, 8},
                                       {9, "histogram", Shape::histogram, 9, 3, 10},
                                       {10, "exponentialHistogram", Shape::exponential, 1, 3, 10},
                                       {11, "summary", Shape::summary, 7, 3, 8}};

// A metric's own fields, less its points.
struct MetricHead {
  std::string name;
  std::string unit;
  std::string_view kind;      // of its values
  std::string_view sum_kind;  // of sums and counts of histograms and summaries
  const PointsKind* points_kind = nullptr;
  std::string_view points;  // the Gauge, Sum ... message
};

// What a process was, not what it is about.
bool is_about_the_process(std::string_view key) {
  return key.starts_with("process.") || key.starts_with("os.") || key.starts_with("telemetry.");
}

std::optional<double> packed_number(std::string_view& bytes) {
  if (bytes.size() < 8) return std::nullopt;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    bits |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (8 * i);
  }
  bytes.remove_prefix(8);
  return std::bit_cast<double>(bits);
}

std::optional<std::uint64_t> packed_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::int64_t unzigzag(std::uint64_t coded) {
  return static_cast<std::int64_t>(coded >> 1U ^ (0 - (coded & 1U)));
}

struct Buckets {  // of an exponential histogram
  std::int64_t offset = 0;
  std::vector<std::uint64_t> counts;
};

struct Point {
  std::uint64_t time_ns = 0;
  std::uint64_t flags = 0;
  std::vector<OtlpAttribute> attributes;
  std::optional<DecimalValue> value;
  bool is_finite = true;
  std::uint64_t count = 0;
  std::optional<double> sum, min, max;
  HistogramCounts histogram;
  std::int64_t scale = 0;
  std::uint64_t zero_count = 0;
  double zero_threshold = 0.0;
  Buckets positive, negative;
  std::vector<std::pair<double, double>> quantiles;
  std::vector<std::string_view> exemplars;
};

class PointReader {
 public:
  PointReader(const PointsKind& kind, Point& point) : kind_(kind), point_(point) {}

  bool read(std::string_view message) {
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(kind_.time, WireType::fixed64)) {
        point_.time_ns = in.fixed64();
      } else if (in.is(kind_.flags, WireType::varint)) {
        point_.flags = in.varint();
      } else if (in.is(kind_.attributes, WireType::bytes)) {
        if (!read_key_value(in.bytes(), point_.attributes.emplace_back())) return false;
      } else if (!read_own(in)) {
        return false;
      }
    }
    return in.ok();
  }

 private:
  bool read_own(const ProtoReader& in) {
    switch (kind_.shape) {
      case Shape::number:
        return read_number(in);
      case Shape::histogram:
        return read_histogram(in);
      case Shape::exponential:
        return read_exponential(in);
      default:
        return read_summary(in);
    }
  }

  bool read_number(const ProtoReader& in) {
    if (in.is(4, WireType::fixed64)) {
      point_.is_finite = std::isfinite(in.number());
      point_.value = point_.is_finite ? decimal_of(in.number()) : DecimalValue();
    } else if (in.is(6, WireType::fixed64)) {
      point_.is_finite = true;
      point_.value = decimal_of(static_cast<std::int64_t>(in.fixed64()));
    } else if (in.is(5, WireType::bytes)) {
      point_.exemplars.push_back(in.bytes());
    }
    return true;
  }

  bool read_totals(const ProtoReader& in, std::uint32_t min, std::uint32_t max) {
    if (in.is(4, WireType::fixed64)) point_.count = in.fixed64();
    if (in.is(5, WireType::fixed64)) point_.sum = in.number();
    if (in.is(min, WireType::fixed64)) point_.min = in.number();
    if (in.is(max, WireType::fixed64)) point_.max = in.number();
    return true;
  }

  bool read_histogram(const ProtoReader& in) {
    if (in.is(8, WireType::bytes)) point_.exemplars.push_back(in.bytes());
    if (in.is(6, WireType::fixed64)) point_.histogram.counts.push_back(in.fixed64());
    if (in.is(7, WireType::fixed64)) point_.histogram.bounds.push_back(in.number());
    if (in.is(6, WireType::bytes) || in.is(7, WireType::bytes)) {
      std::string_view packed = in.bytes();
      while (!packed.empty() && point_.histogram.counts.size() <= kOtlpBucketsMax &&
             point_.histogram.bounds.size() <= kOtlpBucketsMax) {
        const auto value = packed_number(packed);
        if (!value) return false;
        if (in.field() == 6) {
          point_.histogram.counts.push_back(std::bit_cast<std::uint64_t>(*value));
        } else {
          point_.histogram.bounds.push_back(*value);
        }
      }
    }
    return read_totals(in, 11, 12);
  }

  bool read_exponential(const ProtoReader& in) {
    if (in.is(6, WireType::varint)) point_.scale = unzigzag(in.varint());
    if (in.is(7, WireType::fixed64)) point_.zero_count = in.fixed64();
    if (in.is(14, WireType::fixed64)) point_.zero_threshold = in.number();
    if (in.is(11, WireType::bytes)) point_.exemplars.push_back(in.bytes());
    if (in.is(8, WireType::bytes) && !read_buckets(in.bytes(), point_.positive)) return false;
    if (in.is(9, WireType::bytes) && !read_buckets(in.bytes(), point_.negative)) return false;
    return read_totals(in, 12, 13);
  }

  static bool read_buckets(std::string_view message, Buckets& buckets) {
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::varint)) buckets.offset = unzigzag(in.varint());
      if (in.is(2, WireType::varint)) buckets.counts.push_back(in.varint());
      if (!in.is(2, WireType::bytes)) continue;
      std::string_view packed = in.bytes();
      while (!packed.empty() && buckets.counts.size() <= kOtlpBucketsMax) {
        const auto count = packed_varint(packed);
        if (!count) return false;
        buckets.counts.push_back(*count);
      }
    }
    return in.ok();
  }

  bool read_summary(const ProtoReader& in) {
    if (in.is(6, WireType::bytes)) {
      std::pair<double, double> quantile{0.0, 0.0};
      ProtoReader inner(in.bytes());
      while (inner.next()) {
        if (inner.is(1, WireType::fixed64)) quantile.first = inner.number();
        if (inner.is(2, WireType::fixed64)) quantile.second = inner.number();
      }
      if (!inner.ok()) return false;
      if (point_.quantiles.size() <= kOtlpBucketsMax) point_.quantiles.push_back(quantile);
    }
    return read_totals(in, UINT32_MAX, UINT32_MAX);
  }

  const PointsKind& kind_;
  Point& point_;
};

std::uint64_t total_of(const std::vector<std::uint64_t>& counts) {
  std::uint64_t total = 0;
  for (const std::uint64_t count : counts) {
    if (count > kCountMax || (total += count) > kCountMax) return UINT64_MAX;
  }
  return total;
}

// The bounds and counts of an exponential histogram, from the least negative values on. Bucket i
// of scale s holds (2^(i / 2^s), 2^((i + 1) / 2^s)].
HistogramCounts explicit_buckets(const Point& point) {
  HistogramCounts out;
  const double factor = std::ldexp(1.0, static_cast<int>(-point.scale));
  const auto bound = [&](std::int64_t index) {
    return std::exp2(static_cast<double>(index) * factor);
  };
  const auto add = [&](double upper_bound, std::uint64_t count) {
    if (!out.bounds.empty() && upper_bound <= out.bounds.back()) {
      out.counts.back() += count;
      return;
    }
    out.bounds.push_back(upper_bound);
    out.counts.push_back(count);
  };
  if (!point.negative.counts.empty()) {
    // What is said of (a, b] of magnitudes is [-b, -a) here: values on a bound are few.
    const auto size = static_cast<std::int64_t>(point.negative.counts.size());
    add(-bound(point.negative.offset + size), 0);
    for (std::int64_t i = size; i-- > 0;) {
      add(-bound(point.negative.offset + i), point.negative.counts[static_cast<std::size_t>(i)]);
    }
  }
  if (point.zero_count > 0 || !out.bounds.empty()) {
    add(std::max(point.zero_threshold, 0.0), point.zero_count);
  }
  if (!point.positive.counts.empty()) {
    add(bound(point.positive.offset), 0);
    for (std::size_t i = 0; i < point.positive.counts.size(); ++i) {
      add(bound(point.positive.offset + static_cast<std::int64_t>(i) + 1),
          point.positive.counts[i]);
    }
  }
  out.counts.push_back(0);  // nothing lies above the last bucket
  return out;
}

class MetricReader {
 public:
  MetricReader(const MadeContext& context, MadeEventSink& sink,
               const std::vector<Fault>& item_faults)
      : sink_(sink), item_faults_(item_faults), events_(context, sink), context_(context) {}

  void read(std::string_view body) {
    const std::string damaged = for_each_entry(
        body, kNames,
        [&](std::string_view message, const OtlpScope& scope, const std::string& pointer) {
          return read_metric(message, scope, pointer);
        });
    if (!damaged.empty()) {
      sink_.reject(line_ + 1, {damaged, "found a damaged message, expected " +
                                            std::string("an ExportMetricsServiceRequest")});
    }
    events_.flush();
  }

 private:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  bool read_metric(std::string_view message, const OtlpScope& scope, const std::string& pointer) {
    MetricHead head;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::bytes)) head.name = in.bytes();
      if (in.is(3, WireType::bytes)) head.unit = in.bytes();
      for (const PointsKind& kind : kPointsKinds) {
        if (!in.is(kind.field, WireType::bytes)) continue;
        head.points_kind = &kind;
        head.points = in.bytes();
      }
    }
    if (!in.ok()) return false;
    if (head.points_kind == nullptr) return true;
    if (!read_kind(head)) return false;
    start_metric(head, scope);
    std::string item = pointer;
    ((item += '/') += head.points_kind->name) += "/dataPoints/";
    const std::size_t item_size = item.size();
    ProtoReader points(head.points);
    for (std::size_t number = 0; points.next();) {
      if (!points.is(1, WireType::bytes)) continue;
      item.resize(item_size);
      item += std::to_string(number++);
      ++line_;
      if (const Fault* fault = fault_of_item(points.bytes(), item_faults_)) {
        sink_.reject(line_, *fault);
      } else {
        read_point(points.bytes(), head, scope, item);
      }
    }
    return points.ok();
  }

  static bool read_kind(MetricHead& head) {
    std::uint64_t temporality = 0;
    bool is_monotonic = false;
    ProtoReader in(head.points);
    while (in.next()) {
      if (in.is(2, WireType::varint)) temporality = in.varint();
      if (in.is(3, WireType::varint)) is_monotonic = in.varint() != 0;
    }
    constexpr std::uint64_t kDelta = 1;
    head.sum_kind = temporality == kDelta ? "delta" : "counter";
    if (head.points_kind->shape != Shape::number) {
      head.kind = head.points_kind->shape == Shape::summary ? "gauge" : "histogram";
    } else if (head.points_kind->field == 5) {
      head.kind = "gauge";
    } else if (temporality == kDelta) {
      head.kind = "delta";
    } else {
      head.kind = is_monotonic ? "counter" : "gauge";
    }
    return in.ok();
  }

  // ---- what the points of a metric have in common

  void start_metric(const MetricHead& head, const OtlpScope& scope) {
    ++metric_number_;
    metric_fault_ = name_fault("the metric's name", head.name, kMetricNameBytesMax - 8);
    if (metric_fault_.empty() && !head.unit.empty()) {
      metric_fault_ = name_fault("the unit", head.unit, kMetricNameBytesMax);
    }
    common_labels_.clear();
    beside_.clear();
    for (const OtlpAttribute& attribute : scope.resource) {
      if (is_about_the_process(attribute.key)) {
        beside_.push_back(attribute);
      } else {
        add_label(common_labels_, attribute);
      }
    }
    if (!scope.name.empty()) common_labels_.emplace_back("otel_scope_name", scope.name);
    const std::string_view source =
        scope.service.empty() ? context_.default_source : std::string_view(scope.service);
    if (events_.set_source(source)) forget();
  }

  // A later one of the same name wins.
  void add_label(Labels& labels, const OtlpAttribute& attribute) {
    std::string text;
    if (!any_value_text(text, attribute.value)) {
      label_fault_ = "found a damaged attribute " + shown(std::string_view(attribute.key));
      return;
    }
    if (text.empty()) return;  // as if it were not there, as Prometheus has it
    const auto found = std::ranges::find(labels, attribute.key, &Labels::value_type::first);
    if (found != labels.end()) {
      found->second = std::move(text);
    } else if (labels.size() <= kLabelsMax) {
      labels.emplace_back(attribute.key, std::move(text));
    }
  }

  std::string check_labels(const Labels& labels) const {
    if (!label_fault_.empty()) return label_fault_;
    std::size_t bytes = 0;
    for (const auto& [name, value] : labels) {
      std::string fault = name_fault("an attribute's name", name, kLabelNameBytesMax);
      if (fault.empty()) fault = name_fault("an attribute's value", value, kLabelValueBytesMax);
      if (!fault.empty()) return fault;
      bytes += name.size() + value.size() + 6;
    }
    if (labels.size() <= kLabelsMax && bytes <= kSeriesBytesMax) return {};
    return "found " + std::to_string(labels.size()) + " labels of " + std::to_string(bytes) +
           " bytes, expected at most " + std::to_string(kLabelsMax) + " of " +
           std::to_string(kSeriesBytesMax);
  }

  void forget() {
    series_.clear();
    tables_.clear();
  }

  // ---- points

  void reject(const std::string& pointer, std::string reason) {
    sink_.reject(line_, {pointer, std::move(reason)});
  }

  void read_point(std::string_view message, const MetricHead& head, const OtlpScope& scope,
                  const std::string& pointer) {
    Point point;
    if (!PointReader(*head.points_kind, point).read(message)) {
      return reject(pointer, "found a damaged message, expected a data point");
    }
    if (!metric_fault_.empty()) return reject(pointer, metric_fault_);
    if (point.attributes.size() > kOtlpAttributesMax) {
      return reject(pointer + "/attributes", "found " + std::to_string(point.attributes.size()) +
                                                 " attributes, expected at most " +
                                                 std::to_string(kOtlpAttributesMax));
    }
    if (point.time_ns > INT64_MAX) {
      return reject(pointer + "/timeUnixNano",
                    "found " + std::to_string(point.time_ns) + ", expected a time before 2262");
    }
    const auto [member, fault] = check(point, head);
    if (!fault.empty()) return reject(pointer + member, fault);
    label_fault_.clear();
    Labels labels = common_labels_;
    for (const OtlpAttribute& attribute : point.attributes) add_label(labels, attribute);
    std::ranges::sort(labels);
    if (const std::string reason = check_labels(labels); !reason.empty()) {
      return reject(pointer + "/attributes", reason);
    }
    if (events_.next_item(line_, message.size())) forget();
    if ((point.flags & kNoRecordedValue) == 0) take(point, head, scope, std::move(labels));
    events_.count_item();
  }

  // What is wrong with a point's values, and with which member.
  static std::pair<std::string, std::string> check(Point& point, const MetricHead& head) {
    if ((point.flags & kNoRecordedValue) != 0) return {};
    if (head.points_kind->shape == Shape::number) {
      if (!point.value) return {"", "found neither asDouble nor asInt, expected one"};
      if (!point.is_finite) return {"/asDouble", "found no finite number, expected one"};
      return {};
    }
    if (point.count > kCountMax) {
      return {"/count", "found " + std::to_string(point.count) + ", expected at most 2^53"};
    }
    for (const auto& [value, name] : {std::pair(point.sum, "/sum"), std::pair(point.min, "/min"),
                                      std::pair(point.max, "/max")}) {
      if (value && !std::isfinite(*value)) return {name, "found no finite number, expected one"};
    }
    for (const auto& [quantile, value] : point.quantiles) {
      if (!(quantile >= 0.0 && quantile <= 1.0)) {
        return {"/quantileValues", "found a quantile outside of 0 to 1"};
      }
    }
    if (head.points_kind->shape == Shape::histogram) return check_histogram(point);
    if (head.points_kind->shape == Shape::exponential) return check_exponential(point);
    return {};
  }

  static std::pair<std::string, std::string> check_histogram(const Point& point) {
    const auto& [bounds, counts] = point.histogram;
    if (counts.empty() && bounds.empty()) return {};
    if (counts.size() > kOtlpBucketsMax) {
      return {"/bucketCounts", "found more than " + std::to_string(kOtlpBucketsMax) + " buckets"};
    }
    if (counts.size() != bounds.size() + 1) {
      return {"/bucketCounts", "found " + std::to_string(counts.size()) + " counts for " +
                                   std::to_string(bounds.size()) + " bounds, expected one more"};
    }
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      if (std::isfinite(bounds[i]) && (i == 0 || bounds[i] > bounds[i - 1])) continue;
      return {"/explicitBounds/" + std::to_string(i),
              "found a bound that is not above the one before, expected ascending finite numbers"};
    }
    if (const std::uint64_t total = total_of(counts); total != point.count) {
      return {"/bucketCounts",
              "found counts that do not add up to the count, " + std::to_string(point.count)};
    }
    return {};
  }

  static std::pair<std::string, std::string> check_exponential(Point& point) {
    if (point.scale < kScaleMin || point.scale > kScaleMax) {
      return {"/scale", "found " + std::to_string(point.scale) + ", expected -10 to 20"};
    }
    if (point.positive.counts.size() + point.negative.counts.size() + 3 > kOtlpBucketsMax) {
      return {"/positive/bucketCounts",
              "found more than " + std::to_string(kOtlpBucketsMax - 3) + " buckets"};
    }
    std::vector<std::uint64_t> all = point.positive.counts;
    all.insert(all.end(), point.negative.counts.begin(), point.negative.counts.end());
    all.push_back(point.zero_count);
    if (total_of(all) != point.count) {
      return {"/count", "found " + std::to_string(point.count) +
                            ", expected the sum of the counts of the buckets"};
    }
    if (!(point.zero_threshold >= 0.0) || !std::isfinite(point.zero_threshold)) {
      return {"/zeroThreshold", "found no number >= 0, expected one"};
    }
    point.histogram = explicit_buckets(point);
    const auto& bounds = point.histogram.bounds;
    const bool is_finite =
        std::ranges::all_of(bounds, [](double bound) { return std::isfinite(bound); });
    if (!is_finite) return {"/positive/offset", "found buckets beyond what a double holds"};
    return {};
  }

  void take(const Point& point, const MetricHead& head, const OtlpScope& scope, Labels labels) {
    const std::int64_t time_ns =
        events_.time_of(point.time_ns != 0, static_cast<std::int64_t>(point.time_ns));
    if (head.points_kind->shape == Shape::summary) {
      for (const auto& [quantile, value] : point.quantiles) {
        if (!std::isfinite(value)) continue;  // NaN: nothing was observed
        std::string text;
        append_json_double(text, quantile);
        while (text.ends_with('0') || text.ends_with('.')) {
          const bool is_point = text.back() == '.';
          text.pop_back();
          if (is_point) break;
        }
        Labels own = labels;
        std::erase_if(own, [](const auto& label) { return label.first == "quantile"; });
        own.emplace_back("quantile", text);
        std::ranges::sort(own);
        begin_row(scope, own, time_ns);
        set(head.name, head.kind, head.unit, decimal_of(value));
      }
      begin_row(scope, labels, time_ns);
      set(head.name + "_count", "counter", "", decimal_of(static_cast<std::int64_t>(point.count)));
      // Proto3 leaves out a sum of 0, which a summary always has.
      set(head.name + "_sum", "counter", head.unit, decimal_of(point.sum.value_or(0.0)));
      return;
    }
    begin_row(scope, labels, time_ns);
    if (head.points_kind->shape == Shape::number) {
      set(head.name, head.kind, head.unit, *point.value);
      add_exemplars(point, head);
      return;
    }
    const DecimalValue count = decimal_of(static_cast<std::int64_t>(point.count));
    if (point.histogram.counts.empty()) {
      set(head.name, head.kind, head.unit, count);
    } else {
      const std::uint32_t column = column_of(head.name, head.kind, head.unit);
      events_.batch().set_histogram(table_, column, count, point.histogram);
    }
    if (point.sum) set(head.name + "_sum", head.sum_kind, head.unit, decimal_of(*point.sum));
    if (point.min) set(head.name + "_min", "gauge", head.unit, decimal_of(*point.min));
    if (point.max) set(head.name + "_max", "gauge", head.unit, decimal_of(*point.max));
    add_exemplars(point, head);
  }

  void begin_row(const OtlpScope& scope, const Labels& labels, std::int64_t time_ns) {
    key_ = std::to_string(metric_number_);
    views_.clear();
    for (const auto& [name, value] : labels) {
      (key_ += '\n') += name;
      views_.emplace_back(name, value);
    }
    const std::size_t known = tables_.size();
    table_ = events_.batch().table(key_, views_);
    if (table_ >= known) {
      tables_.resize(table_ + 1);
      describe_table(scope);
    }
    for (const auto& [name, value] : labels) (key_ += '\n') += value;
    const auto [found, is_new] = series_.try_emplace(key_, 0U);
    if (is_new) found->second = events_.batch().add_series(table_, views_);
    events_.batch().begin_row(table_, found->second, time_ns);
    next_column_ = 0;
  }

  void describe_table(const OtlpScope& scope) {
    const auto set_member = [&](std::string_view name, const std::vector<OtlpAttribute>& values) {
      std::string json;
      if (values.empty() || !append_attributes_json(json, values)) return;
      if (!simdjson::validate_utf8(json.data(), json.size())) return;
      events_.batch().set_member(table_, name, std::move(json));
    };
    set_member("resource", beside_);
    set_member("scope", scope.attributes);
    if (!scope.version.empty() &&
        simdjson::validate_utf8(scope.version.data(), scope.version.size())) {
      std::string json;
      append_json_string(json, scope.version);
      events_.batch().set_member(table_, "scope_version", std::move(json));
    }
  }

  std::uint32_t column_of(const std::string& name, std::string_view kind, std::string_view unit) {
    MetricBatch& batch = events_.batch();
    const std::uint32_t column = batch.column(table_, next_column_++, name);
    if (batch.is_new_column(table_, column))
      batch.describe_column(table_, column, name, kind, unit);
    return column;
  }

  void set(const std::string& name, std::string_view kind, std::string_view unit,
           const DecimalValue& value) {
    events_.batch().set(table_, column_of(name, kind, unit), value);
  }

  void add_exemplars(const Point& point, const MetricHead& head) {
    std::size_t count = 0;
    for (const std::string_view message : point.exemplars) {
      if (count++ == kOtlpExemplarsMax) return;
      std::string json;
      if (append_exemplar(json, message, head.name)) {
        events_.batch().add_exemplar(table_, std::move(json));
      }
    }
  }

  // False: it is damaged, or says nothing.
  static bool append_exemplar(std::string& out, std::string_view message, const std::string& name) {
    std::string value;
    std::uint64_t time_ns = 0;
    std::string_view trace_id;
    std::string_view span_id;
    std::vector<OtlpAttribute> attributes;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(2, WireType::fixed64)) time_ns = in.fixed64();
      if (in.is(3, WireType::fixed64) && std::isfinite(in.number())) {
        value.clear();
        append_json_double(value, in.number());
      }
      if (in.is(6, WireType::fixed64)) {
        value = std::to_string(static_cast<std::int64_t>(in.fixed64()));
      }
      if (in.is(4, WireType::bytes)) span_id = in.bytes();
      if (in.is(5, WireType::bytes)) trace_id = in.bytes();
      if (in.is(7, WireType::bytes) && !read_key_value(in.bytes(), attributes.emplace_back())) {
        return false;
      }
    }
    if (!in.ok() || value.empty() || attributes.size() > kOtlpAttributesMax) return false;
    out += R"("column":)";
    append_json_string(out, name);
    (out += R"(,"value":)") += value;
    if (time_ns != 0) (out += R"(,"time_unix_nano":)") += std::to_string(time_ns);
    if (trace_id.size() == 16) ((out += R"(,"trace_id":")") += hex_of(trace_id)) += '"';
    if (span_id.size() == 8) ((out += R"(,"span_id":")") += hex_of(span_id)) += '"';
    if (!attributes.empty()) {
      out += R"(,"attributes":)";
      if (!append_attributes_json(out, attributes)) return false;
    }
    return simdjson::validate_utf8(out.data(), out.size());
  }

  MadeEventSink& sink_;
  const std::vector<Fault>& item_faults_;
  MetricEvents events_;
  const MadeContext& context_;
  std::uint32_t line_ = 0;
  std::uint64_t metric_number_ = 0;
  std::string metric_fault_;
  std::string label_fault_;
  Labels common_labels_;
  std::vector<OtlpAttribute> beside_;  // of the resource, no labels
  std::vector<char> tables_;           // as many as the batch has
  std::unordered_map<std::string, std::uint32_t> series_;
  std::vector<MetricBatch::Label> views_;
  std::string key_;
  std::uint32_t table_ = 0;
  std::uint32_t next_column_ = 0;
};

}  // namespace

void read_otlp_metrics(std::string_view body, const MadeContext& context, MadeEventSink& sink) {
  const std::vector<Fault> none;
  MetricReader(context, sink, none).read(body);
}

void read_otlp_metrics_json(std::string_view body, std::uint32_t depth_max,
                            const MadeContext& context, MadeEventSink& sink) {
  std::string protobuf;
  std::vector<Fault> item_faults;
  if (!transcode(protobuf, kOtlpMetricsRequest, body, depth_max, item_faults, sink)) return;
  MetricReader(context, sink, item_faults).read(protobuf);
}

}  // namespace ephor::host
