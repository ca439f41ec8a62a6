// SPDX-License-Identifier: Apache-2.0
//
// Publishes "example.high" when a metric's value passes a threshold, and says how often it did.
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>

class HighMetrics final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Alarms on metrics above a threshold";
  static constexpr std::string_view kConfigSchema =
      R"({"type": "object", "additionalProperties": false, "properties": {"threshold":
          {"type": "number", "default": 100, "description": "values above it are published"}}})";

  HighMetrics(ephor::Host host, std::string_view config) : host_(std::move(host)) {
    threshold_ = ephor::member_or(ephor::parse_json(config, "config"), "threshold", 100.0);
    host_.subscribe({"ephor.metric"});
    host_.provide_route({.method = "GET",
                         .path = "/api/example/high",
                         .query = "minimal_cpp.high",
                         .summary = "How many metrics were above the threshold"},
                        [this](std::string_view) {
                          return ephor::dump({{"threshold", threshold_}, {"high", high_count_}});
                        });
  }

  void on_event(const ephor::Event& event) override {
    const simdjson::dom::object metric = reader_.object(event);
    double value = 0.0;
    if (metric["value"].get(value) != simdjson::SUCCESS || value <= threshold_) return;
    ++high_count_;
    const std::string data = ephor::dump({{"value", value}, {"threshold", threshold_}});
    host_.publish({.topic = "example.high", .data_json = data, .cause = &event});
  }

 private:
  ephor::Host host_;
  ephor::EventReader reader_;
  double threshold_ = 0.0;
  std::uint64_t high_count_ = 0;
};

EPHOR_PLUGIN(HighMetrics, "minimal_cpp")
