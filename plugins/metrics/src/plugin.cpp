// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <ephor/json.hpp>
#include <ephor/json_text.hpp>
#include <ephor/metric_batch.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
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
constexpr std::size_t kFindingsShown = 200;
constexpr std::int64_t kPartTimeoutNs = 3'000'000'000;

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

MetricKind kind_of(std::string_view name) {
  if (name == "counter") return MetricKind::counter;
  if (name == "delta") return MetricKind::delta;
  return name == "histogram" ? MetricKind::histogram : MetricKind::gauge;
}

}  // namespace

class Metrics final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "live value, history, trend and roll-ups of every metric; health of the host";
  static constexpr std::uint32_t kStateVersion = 3;
  static constexpr std::string_view kConfigSchema = metrics::kConfigSchema;

  Metrics(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        reader_(host_),
        table_(settings_.limits, settings_.max_series, settings_.idle_series_ns) {
    host_.declare_tables(kTables);
    points_total_ = host_.counter("ephor_metrics_points_total", "Metric points read");
    series_gauge_ = host_.gauge("ephor_metrics_series", "Metric series kept");
    provide_queries();
  }

  void start() override { host_.subscribe({"ephor.metric", "ephor.metric_batch"}); }

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
  // ---- events

  void read_event(const Event& event) {
    const bool is_late = (event.flags & EPHOR_EVENT_LATE) != 0;
    reader_.for_each_series(event, [&](const MetricSamples& told) {
      make_key(told);
      points_ += told.samples.size();
      late_ += is_late ? told.samples.size() : 0;
      for (const MetricSample& sample : told.samples) table_.note_time(sample.time_ns);
      MetricSeries* series = table_.find_or_make(key_);
      if (series == nullptr) return table_.count_refused(told.samples.size());
      if (!told.unit.empty()) series->set_unit(told.unit);
      if (!told.kind.empty()) series->set_kind(kind_of(told.kind));
      for (const MetricSample& sample : told.samples) series->add(sample.time_ns, sample.value);
      for (const MetricHistogram& histogram : told.histograms) {
        series->set_histogram(histogram.time_ns, histogram.buckets);
      }
    });
  }

  // The name, a line feed and the labels as JSON, sorted by name.
  void make_key(const MetricSamples& told) {
    key_.assign(told.name);
    key_ += "\n{";
    for (const MetricLabel& label : told.labels) {
      if (key_.back() != '{') key_ += ',';
      append_json_text(key_, label.name);
      key_ += ':';
      append_json_text(key_, label.value);
    }
    key_ += '}';
    if (told.labels.size() > kLabelsMax || key_.size() > kKeyBytesMax ||
        told.name.find('\n') != told.name.npos) {
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
  MetricReader reader_;
  SeriesTable table_;
  ProcessFacts process_;
  std::uint64_t points_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t unreadable_ = 0;
  std::string key_;  // scratch
  Series points_total_;
  Series series_gauge_;
};

}  // namespace ephor::metrics

EPHOR_PLUGIN(ephor::metrics::Metrics, "metrics")
