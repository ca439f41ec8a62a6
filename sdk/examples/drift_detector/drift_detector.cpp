// SPDX-License-Identifier: Apache-2.0
//
// Watches the level of every metric and publishes "ephor.drift" when one has moved, and once more
// when it is back.
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/metric_batch.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <map>
#include <string>

#include "cusum.hpp"

namespace {

using ephor::Json;

class DriftDetector final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Finds metrics whose level has moved";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = R"({
    "type": "object", "additionalProperties": false, "properties": {
      "reference_count": {"type": "integer", "minimum": 10, "maximum": 1000000, "default": 200,
        "description": "First values of a metric, which say what is normal"},
      "slack": {"type": "number", "minimum": 0, "maximum": 10, "default": 0.5,
        "description": "Half of the shift worth finding, in standard deviations"},
      "limit": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "default": 5,
        "description": "Of the cumulative sum; 5: one false alarm in about 465 values"},
      "settle_count": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 50,
        "description": "So many values near the old level end a finding"},
      "metrics_max": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
        "description": "Metrics watched; further ones are not"}}})";

  DriftDetector(ephor::Host host, std::string_view config_text) : host_(std::move(host)) {
    const Json config = ephor::parse_json(config_text, "config");
    settings_.reference_count = ephor::member_or(config, "reference_count", 200U);
    settings_.slack = ephor::member_or(config, "slack", 0.5);
    settings_.limit = ephor::member_or(config, "limit", 5.0);
    settle_count_ = ephor::member_or(config, "settle_count", 50U);
    metrics_max_ = ephor::member_or<std::size_t>(config, "metrics_max", 1000);
    host_.subscribe({"ephor.metric", "ephor.metric_batch"});
    host_.provide_route(
        {.method = "GET",
         .path = "/api/drift_detector/findings",
         .query = "drift_detector.summary",
         .summary = "What has moved, open findings first",
         .response_schema = R"({"type":"object"})"},
        [this](std::string_view) {
          return ephor::dump({{"metrics", series_.size()}, {"findings", findings_.list()}});
        });
  }

  void on_event(const ephor::Event& event) override {
    // A late value belongs into the past, which is over: a sum in log order cannot take it back.
    if ((event.flags & EPHOR_EVENT_LATE) != 0) return;
    reader_.for_each_series(event, [this](const ephor::MetricSamples& told) {
      auto found = series_.find(told.name);
      if (found == series_.end()) {
        if (series_.size() >= metrics_max_) return;
        found = series_.emplace(told.name, Series{}).first;
      }
      for (const ephor::MetricSample& sample : told.samples) {
        watch(found->first, found->second, sample.value, sample.time_ns);
      }
    });
    findings_.publish(host_, event);  // because of this event: its time and trace are handed on
  }

  void save(const ephor::Rows&, std::string& state) override {
    ephor::StateWriter out(state);
    out.varint(series_.size());
    for (auto& [name, series] : series_) {
      out.text(name).u32(series.settled_count).f64(series.settled_sum);
      series.cusum.visit([&](auto field) { out.u64(std::bit_cast<std::uint64_t>(field)); });
    }
    findings_.save(out);
  }
  bool load(std::uint32_t version, std::string_view state) override {
    return version == kStateVersion && ephor::read_state(state, [this](ephor::StateReader& in) {
             for (std::size_t left = in.count(77); left > 0; --left) {
               Series& series = series_[in.text()];
               series.settled_count = in.u32();
               series.settled_sum = in.f64();
               series.cusum.visit([&](auto& field) {
                 field = std::bit_cast<std::remove_reference_t<decltype(field)>>(in.u64());
               });
             }
             findings_.load(in);
           });
  }

 private:
  struct Series {
    drift::Cusum cusum;
    std::uint32_t settled_count = 0;  // of the block in hand, while a finding is open
    double settled_sum = 0.0;
  };

  void watch(const std::string& name, Series& series, double value, std::int64_t time_ns) {
    const auto alarm = series.cusum.update(settings_, value, time_ns);
    if (findings_.find_open("level_shift", name) != nullptr) {
      settle(name, series, value, time_ns);
    } else if (alarm != drift::Cusum::Alarm::none) {
      open(name, series, alarm, value, time_ns);
    }
  }

  void open(const std::string& name, Series& series, drift::Cusum::Alarm alarm, double value,
            std::int64_t time_ns) {
    const std::string direction = alarm == drift::Cusum::Alarm::rise ? "rose" : "fell";
    const double mean = series.cusum.mean();
    series.settled_count = 0;
    series.settled_sum = 0.0;
    findings_.open({.kind = "level_shift",
                    .target = name,
                    .target_kind = "metric",
                    .severity = "warning",
                    .summary = name + " " + direction + " from a level of " + std::to_string(mean) +
                               "; now " + std::to_string(value) + ".",
                    .evidence = {{"detector", "cusum"},
                                 {"limit", settings_.limit},
                                 {"slack", settings_.slack},
                                 {"reference_mean", mean},
                                 {"reference_deviation", series.cusum.deviation()},
                                 {"value", value}},
                    .onset_ns = series.cusum.onset_ns(),
                    .detected_ns = time_ns});
  }

  // A block of values whose mean is nearer to the old level than the slack ends the finding.
  void settle(const std::string& name, Series& series, double value, std::int64_t time_ns) {
    series.settled_sum += value;
    if (++series.settled_count < settle_count_) return;
    const double mean = series.settled_sum / series.settled_count;
    if (std::abs(mean - series.cusum.mean()) < settings_.slack * series.cusum.deviation()) {
      findings_.close("level_shift", name, time_ns, "the level is back where it was");
    }
    series.settled_count = 0;
    series.settled_sum = 0.0;
  }

  ephor::Host host_;
  ephor::MetricReader reader_{host_};
  drift::Cusum::Settings settings_;
  std::uint32_t settle_count_ = 0;
  std::size_t metrics_max_ = 0;
  std::map<std::string, Series, std::less<>> series_;
  ephor::Findings findings_{host_.instance(), "ephor.drift", 1000};
};

}  // namespace

EPHOR_PLUGIN(DriftDetector, "drift_detector")
