// SPDX-License-Identifier: Apache-2.0
//
// The points of a series as few bytes, for the saved state: times as differences of differences,
// values as differences of integers where all are decimals of one scale, else as they are. With a
// general compressor over all series behind it, 1 to 2 bytes for each point of usual metrics.
#pragma once

#include <deque>
#include <ephor/state.hpp>
#include <string>
#include <string_view>

namespace ephor::metrics {

struct MetricPoint {
  std::int64_t time_ns = 0;
  double value = 0.0;
};

// `points` in order of time. Every bit of a value comes back.
void write_points(StateWriter& out, const std::deque<MetricPoint>& points);
void read_points(StateReader& in, std::deque<MetricPoint>& points);  // throws ephor::Error

// zstd over a whole state. unpack throws ephor::Error on anything that pack has not written.
std::string pack(std::string_view plain);
std::string unpack(std::string_view packed);

}  // namespace ephor::metrics
