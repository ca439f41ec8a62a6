// SPDX-License-Identifier: Apache-2.0
//
// The plugin on the fake host, and the events it reads.
#pragma once

#include <ephor/testing/fake_host.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tracer_select.hpp"

// Compiled into this program; its entry stands for the library's.
extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace ephor::testing {

using Json = nlohmann::json;
inline constexpr std::int64_t kSecond = 1'000'000'000;

struct EnsembleHost {
  explicit EnsembleHost(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      ++select_count;
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(*ephor_plugin_entry_v1(), config, "ensemble_tracker");
  }
  Json get(std::string_view target) { return Json::parse(host.request("GET", target)); }
  Json summary() { return Json::parse(host.ask("ensemble_tracker.summary")); }

  FakeHost host;
  int select_count = 0;
};

inline std::string event_line(const std::string& type, const Json& data, std::int64_t time_s,
                              const std::string& correlation = {}) {
  static int number = 0;
  Json event{{"specversion", "1.0"}, {"id", std::to_string(++number)},
             {"source", "test"},     {"type", type},
             {"data", data},         {"time", rfc3339(time_s * kSecond)}};
  if (!correlation.empty()) event["correlationid"] = correlation;
  return event.dump() + "\n";
}

inline std::string outcome_line(const std::string& decision, const Json& actual,
                                std::int64_t time_s) {
  return event_line("ephor.outcome", {{"decision_id", decision}, {"actual", actual}}, time_s);
}

}  // namespace ephor::testing
