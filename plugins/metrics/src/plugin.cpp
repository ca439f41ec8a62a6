// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/json_text.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "answers.hpp"
#include "overview.hpp"
#include "process_facts.hpp"
#include "series_table.hpp"
#include "settings.hpp"
#include "system_health.hpp"

namespace ephor::metrics {
namespace {

constexpr std::size_t kLabelsMax = 64;
constexpr std::size_t kKeyBytesMax = 4096;  // name and labels
constexpr std::size_t kHistogramBucketsMax = 512;
constexpr std::size_t kFindingsShown = 200;
constexpr std::int64_t kPartTimeoutNs = 3'000'000'000;

// Told beside the labels by many clients, and as much a part of what a series is.
constexpr std::array<std::string_view, 7> kDimensions{
    "account", "strategy", "environment", "currency", "symbol", "exchange", "timeframe"};

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::optional<double> bound_of(simdjson::dom::element value) {
  if (const auto number = EventReader::number(value)) return number;
  const std::string_view text = EventReader::text(value);
  if (text == "+Inf" || text == "Inf" || text == "inf" || text == "+inf") {
    return std::numeric_limits<double>::infinity();
  }
  double bound = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bound);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return bound;
}

// {"0.1": 3, "+Inf": 7}, [[0.1, 3], ...] or [{"le": 0.1, "count": 3}, ...], counts cumulative.
// Empty if it is none of these or the counts are not.
std::vector<HistogramBucket> histogram_of(simdjson::dom::element value) {
  std::vector<HistogramBucket> out;
  const auto add = [&](std::optional<double> bound, std::optional<double> count) {
    out.push_back({bound.value_or(std::nan("")), count.value_or(-1.0)});
  };
  if (value.is_object()) {
    const simdjson::dom::object object = value.get_object().value_unsafe();
    for (const auto& [key, count] : object) {
      double bound = std::numeric_limits<double>::infinity();
      const bool is_number =
          std::from_chars(key.data(), key.data() + key.size(), bound).ec == std::errc();
      if (!is_number && key != "+Inf") return {};
      add(bound, EventReader::number(count));
    }
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
      if (!is_good) return {};
      add(bound_of(bound), EventReader::number(count));
    }
  }
  if (out.size() > kHistogramBucketsMax) return {};
  std::sort(out.begin(), out.end(), [](const HistogramBucket& a, const HistogramBucket& b) {
    return a.upper_bound < b.upper_bound;
  });
  double before = 0.0;
  for (const HistogramBucket& bucket : out) {
    if (std::isnan(bucket.upper_bound) || !(bucket.count >= before)) return {};
    before = bucket.count;
  }
  return out;
}

}  // namespace

class Metrics final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "live value, history, trend and roll-ups of every metric; health of the host";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = metrics::kConfigSchema;

  Metrics(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        table_(settings_.limits, settings_.max_series, settings_.idle_series_ns) {
    host_.declare_tables(kTables);
    points_total_ = host_.counter("ephor_metrics_points_total", "Metric points read");
    series_gauge_ = host_.gauge("ephor_metrics_series", "Metric series kept");
    provide_queries();
  }

  void start() override { host_.subscribe({"ephor.metric"}); }

  void on_events(std::span<const Event> events) override {
    const std::uint64_t before = points_;
    for (const Event& event : events) {
      try {
        read_event(event);
      } catch (const Error&) {
        ++unreadable_;  // the rest of the slice must not be lost with it
      }
    }
    points_total_.add(static_cast<double>(points_ - before));
    series_gauge_.set(static_cast<double>(table_.series().size()));
  }

  void save(const Rows& rows, std::string& state) override {
    StateWriter out(state);
    out.varint(points_).varint(late_).varint(unreadable_);
    table_.save(rows, out);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                           points_ = in.varint();
                           late_ = in.varint();
                           unreadable_ = in.varint();
                           table_.read(in);
                         });
    return is_read && table_.load_rows(host_);
  }

 private:
  struct Label {
    std::string_view name;
    std::string_view value;
  };

  // ---- events

  void read_event(const Event& event) {
    std::string_view name;
    std::string_view unit;
    std::string_view kind;
    std::optional<double> value;
    std::optional<simdjson::dom::element> labels;
    std::optional<simdjson::dom::element> buckets;
    labels_.clear();
    own_texts_.clear();
    const simdjson::dom::object data = reader_.object(event);
    for (const auto& [key, member] : data) {
      if (key == "name")
        name = EventReader::text(member);
      else if (key == "value")
        value = EventReader::number(member);
      else if (key == "unit")
        unit = EventReader::text(member);
      else if (key == "kind")
        kind = EventReader::text(member);
      else if (key == "labels")
        labels = member;
      else if (key == "buckets")
        buckets = member;
      else if (std::find(kDimensions.begin(), kDimensions.end(), key) != kDimensions.end())
        add_label(key, member);
    }
    if (name.empty() || !value || !std::isfinite(*value)) {
      throw Error(EPHOR_INVALID, "a metric without name or value");
    }
    if (labels) add_labels(*labels);
    make_key(name);
    ++points_;
    late_ += (event.flags & EPHOR_EVENT_LATE) != 0 ? 1 : 0;
    table_.note_time(event.time_ns);
    MetricSeries* series = table_.find_or_make(key_);
    if (series == nullptr) return table_.count_refused();
    if (!unit.empty()) series->set_unit(unit);
    if (kind == "counter")
      series->set_kind(MetricKind::counter);
    else if (kind == "histogram")
      series->set_kind(MetricKind::histogram);
    else if (kind == "gauge")
      series->set_kind(MetricKind::gauge);
    series->add(event.time_ns, *value);
    if (!buckets) return;
    std::vector<HistogramBucket> histogram = histogram_of(*buckets);
    if (histogram.empty()) throw Error(EPHOR_INVALID, "buckets that are not cumulative counts");
    series->set_histogram(event.time_ns, std::move(histogram));
  }

  void add_labels(simdjson::dom::element labels) {
    if (!labels.is_object()) return;
    const simdjson::dom::object object = labels.get_object().value_unsafe();
    for (const auto& [key, member] : object) add_label(key, member);
  }

  // A label of the labels object wins over a dimension of its name, being added later.
  void add_label(std::string_view name, simdjson::dom::element value) {
    if (value.is_null()) return;
    if (value.is_string()) {
      labels_.push_back({name, EventReader::text(value)});
      return;
    }
    own_texts_.push_back(std::make_unique<std::string>(simdjson::minify(value)));
    labels_.push_back({name, *own_texts_.back()});
  }

  // The name, a line feed and the labels as JSON, sorted by name.
  void make_key(std::string_view name) {
    std::stable_sort(labels_.begin(), labels_.end(),
                     [](const Label& a, const Label& b) { return a.name < b.name; });
    key_.assign(name);
    key_ += "\n{";
    std::size_t count = 0;
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      if (i + 1 < labels_.size() && labels_[i + 1].name == labels_[i].name) continue;
      if (count++ > 0) key_ += ',';
      append_json_text(key_, labels_[i].name);
      key_ += ':';
      append_json_text(key_, labels_[i].value);
    }
    key_ += '}';
    if (count > kLabelsMax || key_.size() > kKeyBytesMax || name.find('\n') != name.npos) {
      throw Error(EPHOR_INVALID, "a metric with too many labels");
    }
  }

  // ---- queries

  void provide_queries() {
    host_.provide_route({.method = "GET",
                         .path = "/api/metrics/dashboard",
                         .query = "metrics.dashboard",
                         .summary = "The overview: headline figures of every plugin, latest of "
                                    "every series, open findings; limit, offset of series",
                         .response_schema = R"({"type":"object","x-run-dependent":[
"as_of/last_sequence"]})"},
                        [this](std::string_view request) { return answer_dashboard(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/metrics/series",
                         .query = "metrics.series",
                         .summary = "Every series with its latest value, trend and changes; name, "
                                    "limit, offset"},
                        [this](std::string_view request) {
                          return dump(series_list_json(table_, parse_json(request, "request"),
                                                       settings_.trend_points));
                        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/metrics/history/{metric_name}",
         .query = "metrics.history",
         .summary = "Points or roll-ups of one metric; from, to, resolution (raw, 60, 3600, 86400, "
                    "auto), limit, offset, and labels such as symbol"},
        [this](std::string_view request) {
          return dump(history_json(table_, parse_json(request, "request"), settings_.trend_points));
        });
    host_.provide_route({.method = "GET",
                         .path = "/api/metrics/performance",
                         .query = "metrics.performance",
                         .summary = "Trading, latency and model figures side by side; from, to"},
                        [this](std::string_view request) { return answer_performance(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/metrics/system-health",
                         .query = "metrics.system_health",
                         .summary = "Process, machine, disk, log, bus and plugins, now",
                         .response_schema = R"({"type":"object","x-run-dependent":true})"},
                        [this](std::string_view) { return answer_system_health(); });
    host_.provide_query("metrics.summary", "Counts of metric points and series",
                        [this](std::string_view) {
                          return dump({{"metric_points", points_},
                                       {"metric_series", table_.series().size()},
                                       {"metric_points_late", late_},
                                       {"metric_points_refused", table_.refused_points()},
                                       {"metric_series_evicted", table_.evicted()},
                                       {"metrics_unreadable", unreadable_},
                                       {"findings", Json::array()}});
                        });
  }

  Ask ask() const {
    return [this](const std::string& query, const Json& request) {
      return parse_json(host_.ask(query, dump(request), kPartTimeoutNs), query);
    };
  }

  Json snapshot() const {
    const auto* health = host_.extension<ephor_health>("ephor.health/1");
    if (health == nullptr) return Json::object();
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) { return health->snapshot(health->context, &out, error); });
    return parse_json(text, "health snapshot");
  }

  std::string answer_dashboard(std::string_view request_text) const {
    const Json request = parse_json(request_text, "request");
    Json out = headline_json(ask(), kFindingsShown);
    const Json series = series_list_json(table_, request, settings_.trend_points);
    out["metrics"] = series["series"];
    out["metrics_total"] = series["total"];
    out["limit"] = series["limit"];
    out["offset"] = series["offset"];
    const Json now = snapshot();
    out["as_of"] = {{"log_time", now.value("log_time", Json())},
                    {"newest_time", now.value("newest_time", Json())},
                    {"last_sequence", now.value("last_sequence", Json())}};
    out["update_interval_s"] = settings_.update_interval_s;
    return dump(out);
  }

  std::string answer_performance(std::string_view request_text) const {
    const Json request = parse_json(request_text, "request");
    const auto from_ns = time_parameter(request, "from");
    const auto to_ns = time_parameter(request, "to");
    Json handed_on = Json::object();
    if (from_ns) handed_on["from"] = format_time(*from_ns);
    if (to_ns) handed_on["to"] = format_time(*to_ns);
    Json out = performance_json(ask(), handed_on);
    out["asked"] = {{"from", time_or_null(from_ns)}, {"to", time_or_null(to_ns)}};
    return dump(out);
  }

  std::string answer_system_health() {
    std::string figures;
    if (const auto* table = host_.extension<ephor_metrics>("ephor.metrics/1")) {
      ephor_writer out = string_writer(figures);
      check([&](ephor_error* error) { return table->render(table->context, &out, error); });
    }
    return dump(system_health_json(snapshot(), HostFigures(figures), process_, wall_clock_ns()));
  }

  Host host_;
  Settings settings_;
  EventReader reader_;
  SeriesTable table_;
  ProcessFacts process_;
  std::uint64_t points_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t unreadable_ = 0;
  std::vector<Label> labels_;                            // scratch, of one event
  std::vector<std::unique_ptr<std::string>> own_texts_;  // values of labels that are no texts
  std::string key_;                                      // scratch
  Series points_total_;
  Series series_gauge_;
};

}  // namespace ephor::metrics

EPHOR_PLUGIN(ephor::metrics::Metrics, "metrics")
