// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "ingest/door.hpp"

namespace ephor::host::test {

inline constexpr std::int64_t kArrivedNs = 1'800'000'000'000'000'000;  // 2027-01-15T08:00:00Z

inline Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Admission admission(std::uint32_t format = EPHOR_FORMAT_AUTO) {
  Admission given;
  given.format = format;
  given.arrived_ns = kArrivedNs;
  return given;
}

inline std::string_view record_of(const ephor_event& event) {
  return {event.record, event.record_length};
}

inline std::string_view data_of(const ephor_event& event) {
  return record_of(event).substr(event.data_offset);
}

}  // namespace ephor::host::test
