// SPDX-License-Identifier: Apache-2.0
//
// Does a model that is sure to 0.7 come true 7 times in 10? Ten equal-width bins of the confidence
// in what was predicted; a confidence of 1 is in the last one.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>

namespace ephor::ml_monitor {

class Calibration {
 public:
  static constexpr std::size_t kBins = 10;

  // `confidence` in [0, 1].
  void add(double confidence, bool is_right) {
    const auto at = std::min(static_cast<std::size_t>(confidence * 10.0), kBins - 1);
    ++bins_[at].count;
    bins_[at].right += is_right ? 1 : 0;
    bins_[at].confidence_sum += confidence;
  }
  void add(const Calibration& other) {
    for (std::size_t i = 0; i < kBins; ++i) {
      bins_[i].count += other.bins_[i].count;
      bins_[i].right += other.bins_[i].right;
      bins_[i].confidence_sum += other.bins_[i].confidence_sum;
    }
  }

  std::uint64_t count() const {
    std::uint64_t sum = 0;
    for (const Bin& bin : bins_) sum += bin.count;
    return sum;
  }
  // Expected calibration error: the bins' |mean confidence - share right|, weighted by their share.
  std::optional<double> expected_error() const {
    const std::uint64_t total = count();
    if (total == 0) return std::nullopt;
    double sum = 0.0;
    for (const Bin& bin : bins_)
      sum += std::abs(bin.confidence_sum - static_cast<double>(bin.right));
    return sum / static_cast<double>(total);
  }
  // Mean confidence less the share right: above 0 the model is too sure.
  std::optional<double> gap() const {
    const std::uint64_t total = count();
    if (total == 0) return std::nullopt;
    double sum = 0.0;
    for (const Bin& bin : bins_) sum += bin.confidence_sum - static_cast<double>(bin.right);
    return sum / static_cast<double>(total);
  }

  Json bins_json() const {
    Json out = Json::array();
    for (std::size_t i = 0; i < kBins; ++i) {
      const Bin& bin = bins_[i];
      const auto n = static_cast<double>(bin.count);
      out.push_back(
          {{"from", static_cast<double>(i) / 10.0},
           {"to", static_cast<double>(i + 1) / 10.0},
           {"count", bin.count},
           {"right", bin.right},
           {"mean_confidence", bin.count > 0 ? Json(bin.confidence_sum / n) : Json()},
           {"accuracy", bin.count > 0 ? Json(static_cast<double>(bin.right) / n) : Json()}});
    }
    return out;
  }
  // What bins_json wrote; whatever is not there adds nothing.
  void read(const Json& bins) {
    if (!bins.is_array()) return;
    for (std::size_t i = 0; i < kBins && i < bins.size(); ++i) {
      if (!bins[i].is_object()) continue;
      bins_[i].count = bins[i].value("count", std::uint64_t{0});
      bins_[i].right = bins[i].value("right", std::uint64_t{0});
      const Json mean = bins[i].value("mean_confidence", Json());
      if (mean.is_number()) {
        bins_[i].confidence_sum = mean.get<double>() * static_cast<double>(bins_[i].count);
      }
    }
  }

  void save(StateWriter& out) const {
    for (const Bin& bin : bins_) {
      out.varint(bin.count);
      if (bin.count > 0) out.varint(bin.right).f64(bin.confidence_sum);
    }
  }
  void load(StateReader& in) {
    for (Bin& bin : bins_) {
      bin = {};
      bin.count = in.varint();
      if (bin.count == 0) continue;
      bin.right = in.varint();
      bin.confidence_sum = in.f64();
    }
  }
  bool operator==(const Calibration&) const = default;

 private:
  struct Bin {
    std::uint64_t count = 0;
    std::uint64_t right = 0;
    double confidence_sum = 0.0;
    bool operator==(const Bin&) const = default;
  };
  std::array<Bin, kBins> bins_{};
};

}  // namespace ephor::ml_monitor
