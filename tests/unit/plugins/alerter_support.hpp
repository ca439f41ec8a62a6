// SPDX-License-Identifier: Apache-2.0
//
// alerter.so on the fake host, which hands its own ephor.alert events back as the real one does.
#pragma once

#include <cstdint>
#include <ephor/testing/fake_host.hpp>
#include <ephor/times.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tracer_session.hpp"

namespace ephor::testing {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kEpoch = 1'600'000'000 * kSecond;  // 2020-09-13T12:26:40Z

inline std::string event_line(const std::string& type, const nlohmann::json& data,
                              std::int64_t time_ns, const std::string& source) {
  static int number = 0;
  return nlohmann::json{{"specversion", "1.0"}, {"id", "t" + std::to_string(++number)},
                        {"source", source},     {"type", type},
                        {"data", data},         {"time", rfc3339(time_ns)}}
             .dump() +
         "\n";
}

inline nlohmann::json finding(const std::string& id, const std::string& state = "open",
                              const std::string& severity = "warning") {
  return {{"finding_id", id},
          {"kind", "error_burst"},
          {"target", "a/b"},
          {"target_kind", "operation"},
          {"state", state},
          {"severity", severity},
          {"onset", "2020-09-13T12:00:00Z"},
          {"summary", "errors of a/b rose"},
          {"evidence", {{"errors", 12}}}};
}

struct AlerterHost {
  explicit AlerterHost(std::string_view config = "{}", const std::string& mode = "replay") {
    host.set_health_snapshot(R"({"live":true,"mode":")" + mode + R"("})");
    host.load_plugin(plugin_entry("alerter"), config, "alerter");
  }
  nlohmann::json get(std::string_view target) {
    return nlohmann::json::parse(host.request("GET", target));
  }
  nlohmann::json post(std::string_view target, const nlohmann::json& body) {
    return nlohmann::json::parse(host.request("POST", target, body.dump()));
  }
  nlohmann::json summary() { return nlohmann::json::parse(host.ask("alerter.summary")); }
  // `at_s`: seconds behind kEpoch.
  void find(const nlohmann::json& data, double at_s, const std::string& source = "ephor/tracer") {
    host.deliver(
        event_line("ephor.finding", data, kEpoch + static_cast<std::int64_t>(at_s * 1e9), source),
        EPHOR_EVENT_DERIVED);
    hand_back();
  }
  void hand_back() {
    const auto published = host.published("ephor.alert");
    for (; handed_back_ < published.size(); ++handed_back_) {
      const nlohmann::json data = nlohmann::json::parse(published[handed_back_].data_json);
      const std::int64_t time = *ephor::parse_time(data["at"].get_ref<const std::string&>());
      host.deliver(event_line("ephor.alert", data, time, "ephor/alerter"), EPHOR_EVENT_DERIVED);
    }
  }
  std::vector<nlohmann::json> alerts_published() const {
    std::vector<nlohmann::json> out;
    for (const Published& one : host.published("ephor.alert")) {
      out.push_back(nlohmann::json::parse(one.data_json));
    }
    return out;
  }

  FakeHost host;
  std::size_t handed_back_ = 0;
};

}  // namespace ephor::testing
