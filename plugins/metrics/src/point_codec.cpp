// SPDX-License-Identifier: Apache-2.0
#include "point_codec.hpp"

#include <zstd.h>

#include <bit>
#include <cmath>
#include <optional>
#include <vector>

namespace ephor::metrics {
namespace {

constexpr std::uint8_t kScaleMax = 9;
constexpr std::uint8_t kRaw = 255;
constexpr double kIntegerMax = 4503599627370496.0;  // 2^52: differences of two fit 53 bits
constexpr double kPowers[kScaleMax + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
constexpr int kLevel = 1;
// No frame of zstd holds more than so many bytes for one of its own.
constexpr std::size_t kRatioMax = 100'000;

std::optional<std::int64_t> integer_of(double value, double power) {
  const double scaled = value * power;
  if (!(std::abs(scaled) < kIntegerMax)) return std::nullopt;
  const auto integer = static_cast<std::int64_t>(std::nearbyint(scaled));
  // Against what is read back: the sign of zero is part of a value, and integers have no -0.
  const double back = static_cast<double>(integer) / power;
  if (std::bit_cast<std::uint64_t>(back) != std::bit_cast<std::uint64_t>(value)) {
    return std::nullopt;
  }
  return integer;
}

// The least scale at which all values are integers; kRaw: none is.
std::uint8_t integers_of(const std::deque<MetricPoint>& points, std::vector<std::int64_t>& out) {
  std::uint8_t scale = 0;
  for (bool is_done = false; !is_done;) {
    out.clear();
    is_done = true;
    for (const MetricPoint& point : points) {
      const auto integer = integer_of(point.value, kPowers[scale]);
      if (integer) {
        out.push_back(*integer);
        continue;
      }
      // The next scale that this one has; then all again.
      while (scale < kScaleMax && !integer_of(point.value, kPowers[scale])) ++scale;
      if (!integer_of(point.value, kPowers[scale])) return kRaw;
      is_done = false;
      break;
    }
  }
  return scale;
}

}  // namespace

void write_points(StateWriter& out, const std::deque<MetricPoint>& points) {
  out.varint(points.size());
  std::uint64_t before = 0;
  std::uint64_t step = 0;
  for (const MetricPoint& point : points) {
    const auto now = static_cast<std::uint64_t>(point.time_ns);
    out.signed_varint(static_cast<std::int64_t>(now - before - step));
    step = now - before;
    before = now;
  }
  thread_local std::vector<std::int64_t> integers;
  const std::uint8_t scale = integers_of(points, integers);
  out.u8(scale);
  if (scale == kRaw) {
    for (const MetricPoint& point : points) out.f64(point.value);
    return;
  }
  std::int64_t last = 0;
  for (const std::int64_t integer : integers) {
    out.signed_varint(integer - last);
    last = integer;
  }
}

void read_points(StateReader& in, std::deque<MetricPoint>& points) {
  const std::size_t count = in.count(2);
  points.clear();
  std::uint64_t now = 0;
  std::uint64_t step = 0;
  for (std::size_t i = 0; i < count; ++i) {
    step += static_cast<std::uint64_t>(in.signed_varint());
    now += step;
    points.push_back({static_cast<std::int64_t>(now), 0.0});
  }
  const std::uint8_t scale = in.u8();
  if (scale > kScaleMax && scale != kRaw) {
    throw Error(EPHOR_INVALID, "points: found a scale of " + std::to_string(scale));
  }
  std::uint64_t sum = 0;
  for (MetricPoint& point : points) {
    if (scale == kRaw) {
      point.value = in.f64();
      continue;
    }
    sum += static_cast<std::uint64_t>(in.signed_varint());
    point.value = static_cast<double>(static_cast<std::int64_t>(sum)) / kPowers[scale];
  }
}

std::string pack(std::string_view plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size =
      ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), kLevel);
  if (ZSTD_isError(size) != 0) {
    throw Error(EPHOR_INTERNAL, std::string("zstd: ") + ZSTD_getErrorName(size));
  }
  out.resize(size);
  return out;
}

std::string unpack(std::string_view packed) {
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  const bool is_known = size != ZSTD_CONTENTSIZE_UNKNOWN && size != ZSTD_CONTENTSIZE_ERROR;
  if (!is_known || size / kRatioMax > packed.size()) {
    throw Error(EPHOR_INVALID, "state: found no zstd frame with a size that can be");
  }
  std::string out(static_cast<std::size_t>(size), '\0');
  const std::size_t got = ZSTD_decompress(out.data(), out.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) != 0 || got != out.size()) {
    throw Error(EPHOR_INVALID, "state: found a zstd frame that is damaged");
  }
  return out;
}

}  // namespace ephor::metrics
