// SPDX-License-Identifier: Apache-2.0
//
// Each fault is on from hour 8 to hour 16 of a day with a fixed seed; what it does must stand out
// there and nowhere else.
#include <algorithm>
#include <cmath>
#include <ephor/plugin.hpp>
#include <functional>
#include <set>

#include "simulator_support.hpp"
#include "support/catch.hpp"

using namespace ephor::simulator;
using namespace ephor::simulator::testing;
using nlohmann::json;

namespace {

const Recorded& healthy() {
  static const Recorded stream = stream_of({"--seed", "11"});
  return stream;
}
Recorded with_fault(const std::string& fault) {
  return stream_of({"--seed", "11", "--fault", fault + ":8:16"});
}

bool is_inside(const json& event) {
  const int hour = std::stoi(event["time"].get<std::string>().substr(11, 2));
  return hour >= 8 && hour < 16;
}

struct Halves {
  std::vector<double> inside;
  std::vector<double> outside;
};
Halves split_values(const Recorded& stream, const std::string& type,
                    const std::function<bool(const json&)>& is_wanted,
                    const std::function<double(const json&)>& value) {
  Halves halves;
  for (const json& event : stream.events) {
    if (event["type"] != type || !is_wanted(event["data"])) continue;
    (is_inside(event) ? halves.inside : halves.outside).push_back(value(event["data"]));
  }
  return halves;
}
double mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}
double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<std::string> market_of(const Recorded& stream) {
  std::vector<std::string> lines;
  for (const json& event : stream.events) {
    if (event["type"] == "ephor.market") lines.push_back(event.dump());
  }
  return lines;
}

}  // namespace

TEST_CASE("faults: none of them moves the market or what came before", "[unit][simulator]") {
  for (const std::string fault :
       {"feature_drift:volume_z", "broken_model:xgb_flow",
        "latency_regression:tactician/size_position", "error_burst:strategist/risk_check",
        "overconfidence:lstm_sequence", "stale_output:forest_swing"}) {
    CAPTURE(fault);
    const Recorded stream = with_fault(fault);
    REQUIRE(market_of(stream) == market_of(healthy()));
    const std::size_t begin = healthy().text.find("2025-01-01T08:00:");
    REQUIRE(stream.text.substr(0, begin - 200) == healthy().text.substr(0, begin - 200));
    REQUIRE(stream.text != healthy().text);
  }
}

TEST_CASE("faults: feature_drift shifts its feature by the factor", "[unit][simulator]") {
  const auto volume_z = [](const json& data) { return data["features"]["volume_z"].get<double>(); };
  const auto rsi = [](const json& data) { return data["features"]["rsi_14"].get<double>(); };
  const auto all = [](const json&) { return true; };
  const Recorded stream = with_fault("feature_drift:volume_z");
  const Halves drifted = split_values(stream, "ephor.features", all, volume_z);
  const Halves before = split_values(healthy(), "ephor.features", all, volume_z);
  // volume_z has the scale 1, the default factor is 3.
  REQUIRE(mean(drifted.inside) - mean(before.inside) == Approx(3.0));
  REQUIRE(mean(drifted.outside) == Approx(mean(before.outside)));
  REQUIRE(split_values(stream, "ephor.features", all, rsi).inside ==
          split_values(healthy(), "ephor.features", all, rsi).inside);
  // The model that hangs on it most is harmed, one that does not use it is not.
  auto harmed = joined_by_model(stream.events);
  auto sound = joined_by_model(healthy().events);
  REQUIRE(accuracy_of(within(harmed["momentum_rule"], 8, 16)) ==
          accuracy_of(within(sound["momentum_rule"], 8, 16)));
  std::size_t changed = 0;
  for (std::size_t i = 0; i < sound["xgb_flow"].size(); ++i) {
    changed += harmed["xgb_flow"][i].prediction != sound["xgb_flow"][i].prediction;
  }
  REQUIRE(changed > 400);
}

TEST_CASE("faults: broken_model rolls out a version that is right one time in three",
          "[unit][simulator]") {
  const Recorded stream = with_fault("broken_model:xgb_flow");
  auto joined = joined_by_model(stream.events);
  const auto broken = within(joined["xgb_flow"], 8, 16);
  REQUIRE(broken.size() > 450);
  // Four standard errors of sqrt(2 / 9 / 480).
  REQUIRE(std::abs(accuracy_of(broken) - 1.0 / 3.0) < 0.09);
  REQUIRE(accuracy_of(within(joined["xgb_flow"], 0, 8)) > 0.45);
  for (const Joined& each : joined["xgb_flow"]) {
    const int hour = std::stoi(each.time.substr(11, 2));
    REQUIRE(each.prediction["model_version"] == (hour >= 8 && hour < 16 ? "1.1.0" : "1.0.0"));
  }
  std::vector<std::string> deployed;
  for (const json& event : stream.events) {
    if (event["type"] != "ephor.deployment") continue;
    REQUIRE(event["data"]["model_id"] == "xgb_flow");
    deployed.push_back(event["time"].get<std::string>().substr(11, 5) + " " +
                       event["data"]["model_version"].get<std::string>());
  }
  REQUIRE(deployed == std::vector<std::string>{"08:00 1.1.0", "16:00 1.0.0"});
}

TEST_CASE("faults: latency_regression slows its operation by the factor", "[unit][simulator]") {
  const auto latency_of = [](const std::string& operation) {
    return std::pair{[operation](const json& data) { return data["operation"] == operation; },
                     [](const json& data) {
                       return data["end_time_unix_nano"].get<double>() -
                              data["start_time_unix_nano"].get<double>();
                     }};
  };
  const Recorded stream = with_fault("latency_regression:tactician/size_position");
  const auto [is_slow, value] = latency_of("size_position");
  const Halves slow = split_values(stream, "ephor.span", is_slow, value);
  const Halves sound = split_values(healthy(), "ephor.span", is_slow, value);
  // The same draws times 6; nanosecond epochs in a double are rounded to 256 ns.
  REQUIRE(median(slow.inside) / median(sound.inside) == Approx(6.0).epsilon(0.01));
  REQUIRE(median(slow.outside) == Approx(median(sound.outside)).epsilon(0.01));
  REQUIRE(median(sound.inside) == Approx(1.6e6).epsilon(0.1));
  const auto [is_other, other] = latency_of("route_order");
  REQUIRE(
      median(split_values(stream, "ephor.span", is_other, other).inside) ==
      Approx(median(split_values(healthy(), "ephor.span", is_other, other).inside)).epsilon(0.01));
}

TEST_CASE("faults: error_burst fails its operation at the rate", "[unit][simulator]") {
  const Recorded stream = with_fault("error_burst:strategist/risk_check");
  const Halves errors = split_values(
      stream, "ephor.span", [](const json& data) { return data["operation"] == "risk_check"; },
      [](const json& data) { return data["status"] == "error" ? 1.0 : 0.0; });
  // Four standard errors of sqrt(0.2 * 0.8 / 480).
  REQUIRE(std::abs(mean(errors.inside) - 0.2) < 0.075);
  REQUIRE(mean(errors.outside) < 0.01);
}

TEST_CASE("faults: overconfidence raises confidence, not accuracy", "[unit][simulator]") {
  const Recorded stream = with_fault("overconfidence:lstm_sequence");
  const auto is_target = [](const json& data) { return data["model_id"] == "lstm_sequence"; };
  const auto confidence = [](const json& data) { return data["confidence"].get<double>(); };
  const Halves sure = split_values(stream, "ephor.prediction", is_target, confidence);
  const Halves sound = split_values(healthy(), "ephor.prediction", is_target, confidence);
  REQUIRE(mean(sure.inside) > mean(sound.inside) + 0.15);
  REQUIRE(mean(sure.outside) == Approx(mean(sound.outside)));
  auto joined = joined_by_model(stream.events);
  const auto inside = within(joined["lstm_sequence"], 8, 16);
  REQUIRE(accuracy_of(inside) ==
          Approx(accuracy_of(within(joined_by_model(healthy().events)["lstm_sequence"], 8, 16)))
              .margin(0.005));
  REQUIRE(mean(sure.inside) - accuracy_of(inside) > 0.15);
}

TEST_CASE("faults: stale_output repeats one probability vector", "[unit][simulator]") {
  const Recorded stream = with_fault("stale_output:forest_swing");
  std::set<std::string> inside;
  std::set<std::string> outside;
  for (const json& event : stream.events) {
    if (event["type"] != "ephor.prediction" || event["data"]["model_id"] != "forest_swing")
      continue;
    (is_inside(event) ? inside : outside).insert(event["data"]["probability"].dump());
  }
  REQUIRE(inside.size() == 1);
  REQUIRE(outside.size() > 800);
}

TEST_CASE("faults: kinds, targets and strengths are checked", "[unit][simulator]") {
  for (std::size_t kind = 0; kind < kFaultKindCount; ++kind) {
    const Fault fault = make_fault(kFaultKindNames[kind], "");
    REQUIRE_NOTHROW(check_strength(fault));
    const auto targets = targets_of(fault.kind);
    REQUIRE(std::find(targets.begin(), targets.end(), fault.target) != targets.end());
  }
  Fault fault = make_fault("latency_regression", "");
  fault.factor = 0.0;
  REQUIRE_THROWS_AS(check_strength(fault), ephor::Error);
  fault.factor = std::nan("");
  REQUIRE_THROWS_AS(check_strength(fault), ephor::Error);
}
