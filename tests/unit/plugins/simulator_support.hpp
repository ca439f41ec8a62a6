// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulate.hpp"

namespace ephor::simulator::testing {

struct Recorded {
  SimulateOptions options;
  Truth truth;
  std::string text;
  std::vector<nlohmann::json> events;  // parsed from `text`
};

inline std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

// What `ephor simulate ARGUMENTS` would write.
inline Recorded stream_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--out", "unused"});
  Recorded stream;
  stream.options = parse_simulate(arguments);
  stream.truth = simulate(stream.options, [&](std::string_view lines) { stream.text += lines; });
  for (const std::string_view line : lines_of(stream.text)) {
    stream.events.push_back(nlohmann::json::parse(line));
  }
  return stream;
}

// Predictions with what came of them, joined by prediction id, in the order of the predictions.
struct Joined {
  nlohmann::json prediction;  // data
  std::string actual;
  std::string time;
};
inline std::map<std::string, std::vector<Joined>> joined_by_model(
    const std::vector<nlohmann::json>& events) {
  std::map<std::string, std::string> actual_of;
  for (const auto& event : events) {
    if (event["type"] != "ephor.outcome") continue;
    actual_of[event["data"]["prediction_id"]] = event["data"]["actual"];
  }
  std::map<std::string, std::vector<Joined>> joined;
  for (const auto& event : events) {
    if (event["type"] != "ephor.prediction") continue;
    const auto found = actual_of.find(event["data"]["prediction_id"]);
    if (found == actual_of.end()) continue;
    joined[event["data"]["model_id"]].push_back({event["data"], found->second, event["time"]});
  }
  return joined;
}

inline double accuracy_of(const std::vector<Joined>& joined) {
  double correct = 0.0;
  for (const Joined& each : joined) correct += each.prediction["prediction"] == each.actual;
  return correct / static_cast<double>(joined.size());
}

// Those from hour `from` (inclusive) to `to` (exclusive) of the first day.
inline std::vector<Joined> within(const std::vector<Joined>& joined, int from, int to) {
  std::vector<Joined> chosen;
  for (const Joined& each : joined) {
    const int hour = std::stoi(each.time.substr(11, 2));
    if (hour >= from && hour < to && each.time.starts_with("2025-01-01")) chosen.push_back(each);
  }
  return chosen;
}

}  // namespace ephor::simulator::testing
