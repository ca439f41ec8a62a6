// SPDX-License-Identifier: Apache-2.0
//
// A made-up market for the tests of ml_monitor: models that see the coming class through noise of
// their own, decision by decision, as CloudEvents lines.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ephor/testing/cloud_event.hpp>
#include <random>
#include <string>
#include <vector>

namespace ephor::ml_monitor::testing {

struct Fault {
  std::string kind;  // broken, overconfident, stale, shifted, missing, hard (all models)
  int from = 0;
  int to = 0;
  int model = 0;
};

struct StreamForm {
  int decisions = 900;
  int models = 4;
  std::uint64_t seed = 1;
  std::vector<Fault> faults;
};

class Stream {
 public:
  static constexpr std::int64_t kStepNs = 60'000'000'000;

  explicit Stream(const StreamForm& form) : form_(form), random_(form.seed) {}

  std::string lines() {
    std::string out;
    for (int i = 0; i < form_.decisions; ++i) out += decision(i);
    return out;
  }
  static std::int64_t time_of(int decision) { return (decision + 1) * kStepNs; }

 private:
  const Fault* active(const std::string& kind, int i, int model = -1) const {
    for (const Fault& fault : form_.faults) {
      if (fault.kind == kind && fault.from <= i && i < fault.to &&
          (model < 0 || fault.model == model)) {
        return &fault;
      }
    }
    return nullptr;
  }
  double uniform() { return (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53; }
  double normal() {
    const double u = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform());
  }
  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6f", value);
    return text;
  }
  std::string event(const std::string& topic, const std::string& data, std::int64_t time_ns,
                    const std::string& correlation) {
    return ephor::testing::CloudEvent{.topic = topic,
                                      .data_json = data,
                                      .time_ns = time_ns,
                                      .id = std::to_string(++events_),
                                      .correlation_id = correlation}
               .line() +
           "\n";
  }

  std::string decision(int i) {
    static constexpr std::array<const char*, 3> kClasses{"sell", "hold", "buy"};
    const std::int64_t time = time_of(i);
    const std::string correlation = "c" + std::to_string(i);
    const double seen = normal();  // what the models can know
    const double noise = active("hard", i) != nullptr ? 3.0 : 0.7;
    const double coming = seen + noise * normal();
    const int actual = coming < -0.6 ? 0 : (coming > 0.6 ? 2 : 1);
    std::string out;
    std::string features = "\"a\":" + number(normal()) + ",\"b\":" + number(normal());
    if (active("missing", i) == nullptr || uniform() < 0.5) {
      features += ",\"c\":" + number(normal() + (active("shifted", i) != nullptr ? 2.0 : 0.0));
    }
    out += event("ephor.features", R"({"symbol":"X","features":{)" + features + "}}", time,
                 correlation);
    for (int model = 0; model < form_.models; ++model) {
      const bool is_broken = active("broken", i, model) != nullptr;
      const double view = (is_broken ? normal() : seen) + 0.4 * normal();
      std::array<double, 3> p{};
      double total = 0.0;
      for (int c = 0; c < 3; ++c) {
        total += p[static_cast<std::size_t>(c)] =
            std::exp(-(view - (c - 1.0)) * (view - (c - 1.0)));
      }
      const double power = active("overconfident", i, model) != nullptr ? 4.0 : 1.0;
      double sharp = 0.0;
      for (double& value : p) sharp += value = std::pow(value / total, power);
      for (double& value : p) value /= sharp;
      if (active("stale", i, model) != nullptr) p = {0.25, 0.5, 0.25};
      const auto best = std::max_element(p.begin(), p.end()) - p.begin();
      out += event("ephor.prediction",
                   R"({"prediction_id":"p)" + std::to_string(i) + "m" + std::to_string(model) +
                       R"(","model_id":"m)" + std::to_string(model) +
                       R"(","symbol":"X","model_version":"1","prediction":")" +
                       kClasses[static_cast<std::size_t>(best)] + R"(","confidence":)" +
                       number(p[static_cast<std::size_t>(best)]) + R"(,"probability":{"sell":)" +
                       number(p[0]) + R"(,"hold":)" + number(p[1]) + R"(,"buy":)" + number(p[2]) +
                       "}}",
                   time + 1, correlation);
    }
    out += event("ephor.regime",
                 std::string(R"({"symbol":"X","regime_type":")") +
                     (i / 100 % 2 == 0 ? "calm" : "wild") + R"("})",
                 time + 2, correlation);
    for (int model = 0; model < form_.models; ++model) {
      out += event("ephor.outcome",
                   R"({"prediction_id":"p)" + std::to_string(i) + "m" + std::to_string(model) +
                       R"(","actual":")" + kClasses[static_cast<std::size_t>(actual)] + R"("})",
                   time + kStepNs / 2, correlation);
    }
    return out;
  }

  StreamForm form_;
  std::mt19937_64 random_;
  int events_ = 0;
};

}  // namespace ephor::ml_monitor::testing
