// SPDX-License-Identifier: Apache-2.0
#include "sketch.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::tracer {
namespace {

constexpr double kGamma = (1.0 + Sketch::kRelativeError) / (1.0 - Sketch::kRelativeError);
// Bin numbers are stored with this bias, so that values below 1 have one too; 0 is for values that
// are not above zero. gamma^±32767 is beyond the range of double.
constexpr int kBias = 32'768;
constexpr std::uint64_t kCountMask = (1ULL << 48) - 1;

}  // namespace

std::uint16_t Sketch::bin_of(double value) {
  static const double kInverseLogGamma = 1.0 / std::log(kGamma);
  if (!(value > 0.0)) return 0;
  const double index = std::ceil(std::log(value) * kInverseLogGamma);
  return static_cast<std::uint16_t>(std::clamp(index + kBias, 1.0, 65'535.0));
}

double Sketch::value_of(std::uint16_t bin) {
  if (bin == 0) return 0.0;
  return 2.0 * std::pow(kGamma, static_cast<double>(bin) - kBias) / (kGamma + 1.0);
}

void Sketch::add_bin(std::uint16_t bin, std::uint64_t count) {
  count_ += count;
  const std::uint64_t key = static_cast<std::uint64_t>(bin) << kBinShift;
  const auto at = std::lower_bound(bins_.begin(), bins_.end(), key);
  if (at != bins_.end() && (*at >> kBinShift) == bin) {
    *at += count;
    return;
  }
  bins_.insert(at, key | count);
  if (bins_.size() > bins_max_) {
    bins_[1] += bins_[0] & kCountMask;
    bins_.erase(bins_.begin());
  }
}

void Sketch::merge(const Sketch& other) {
  for (const std::uint64_t bin : other.bins_) {
    add_bin(static_cast<std::uint16_t>(bin >> kBinShift), bin & kCountMask);
  }
}

std::optional<double> Sketch::quantile(double q) const {
  if (count_ == 0) return std::nullopt;
  const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_ - 1));
  std::uint64_t below = 0;
  for (const std::uint64_t bin : bins_) {
    below += bin & kCountMask;
    if (below > rank) return value_of(static_cast<std::uint16_t>(bin >> kBinShift));
  }
  return value_of(static_cast<std::uint16_t>(bins_.back() >> kBinShift));
}

void Sketch::write(StateWriter& out) const {
  out.varint(bins_.size());
  std::uint64_t previous = 0;
  for (const std::uint64_t bin : bins_) {
    out.varint((bin >> kBinShift) - previous).varint(bin & kCountMask);
    previous = bin >> kBinShift;
  }
}

void Sketch::read(StateReader& in) {
  bins_.clear();
  count_ = 0;
  std::uint64_t bin = 0;
  bool is_first = true;
  for (std::size_t left = in.count(2); left > 0; --left) {
    const std::uint64_t step = in.varint();
    const std::uint64_t count = in.varint();
    bin += step;
    if ((step == 0 && !is_first) || step > 65'535 || bin > 65'535 || count == 0 ||
        count > kCountMask || bins_.size() >= bins_max_) {
      throw Error(EPHOR_INVALID, "sketch: bins out of order or out of range");
    }
    is_first = false;
    bins_.push_back(bin << kBinShift | count);
    count_ += count;
  }
}

}  // namespace ephor::tracer
