// SPDX-License-Identifier: Apache-2.0
//
// metrics.so on the fake host, with rows that can be read back.
#pragma once

#include <cstdint>
#include <ephor/testing/fake_host.hpp>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace ephor::testing {

struct MetricsHost {
  explicit MetricsHost(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("metrics"), config, "metrics");
  }
  nlohmann::json get(std::string_view target) {
    return nlohmann::json::parse(host.request("GET", target));
  }
  nlohmann::json summary() { return nlohmann::json::parse(host.ask("metrics.summary")); }

  FakeHost host;
};

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kEpoch = 1'600'000'000 * kSecond;  // 2020-09-13T12:26:40Z

// `at_s`: seconds behind kEpoch.
inline std::string metric_line(const nlohmann::json& data, double at_s) {
  static int number = 0;
  return nlohmann::json{{"specversion", "1.0"},
                        {"id", std::to_string(++number)},
                        {"source", "test"},
                        {"type", "ephor.metric"},
                        {"time", rfc3339(kEpoch + static_cast<std::int64_t>(at_s * 1e9))},
                        {"data", data}}
             .dump() +
         "\n";
}
inline std::string gauge_line(const std::string& name, double value, double at_s) {
  return metric_line({{"name", name}, {"value", value}}, at_s);
}

}  // namespace ephor::testing
