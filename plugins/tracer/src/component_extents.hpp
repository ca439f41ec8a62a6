// SPDX-License-Identifier: Apache-2.0
//
// When each component worked on one correlation id: a handful of entries for each of tens of
// thousands of ids, so they lie packed in one array.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace ephor::tracer {

// Thread-compatible. Entries in order of arrival. 21 bytes and the name each; add and for_each: a
// walk over all, some 10 ns.
class ComponentExtents {
 public:
  static constexpr std::size_t kComponentsMax = 64;
  static constexpr std::size_t kNameBytesMax = 255;

  // Microseconds since 1970, of the component's spans.
  struct Times {
    std::int64_t start_us = 0;
    std::int64_t end_us = 0;
    std::uint32_t span_count = 0;
  };

  // Longer names are cut; components beyond kComponentsMax are left out.
  void add(std::string_view component, const Times& times) {
    component = component.substr(0, kNameBytesMax);
    std::size_t count = 0;
    for (std::size_t at = 0; at < bytes_.size(); ++count) {
      const std::string_view name = name_at(at);
      char* const place = bytes_.data() + at + 1 + name.size();
      if (name == component) return merge(place, times);
      at += 1 + name.size() + kTimesBytes;
    }
    if (count == kComponentsMax) return;
    // As much as is needed and no more: most ids have seen all their components after one trace.
    bytes_.reserve(bytes_.size() + 1 + component.size() + kTimesBytes);
    bytes_.push_back(static_cast<char>(component.size()));
    bytes_.insert(bytes_.end(), component.begin(), component.end());
    bytes_.resize(bytes_.size() + kTimesBytes);
    store(bytes_.data() + bytes_.size() - kTimesBytes, times);
  }

  // visit(std::string_view component, const Times&).
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t at = 0; at < bytes_.size();) {
      const std::string_view name = name_at(at);
      visit(name, load(bytes_.data() + at + 1 + name.size()));
      at += 1 + name.size() + kTimesBytes;
    }
  }
  bool is_empty() const { return bytes_.empty(); }

 private:
  static constexpr std::size_t kTimesBytes = 8 + 8 + 4;

  std::string_view name_at(std::size_t at) const {
    return {bytes_.data() + at + 1, static_cast<unsigned char>(bytes_[at])};
  }
  static Times load(const char* place) {
    Times times;
    std::memcpy(&times.start_us, place, 8);
    std::memcpy(&times.end_us, place + 8, 8);
    std::memcpy(&times.span_count, place + 16, 4);
    return times;
  }
  static void store(char* place, const Times& times) {
    std::memcpy(place, &times.start_us, 8);
    std::memcpy(place + 8, &times.end_us, 8);
    std::memcpy(place + 16, &times.span_count, 4);
  }
  static void merge(char* place, const Times& more) {
    Times times = load(place);
    if (more.start_us < times.start_us) times.start_us = more.start_us;
    if (more.end_us > times.end_us) times.end_us = more.end_us;
    times.span_count += more.span_count;
    store(place, times);
  }

  // Per component: u8 size of its name | name | i64 start | i64 end | u32 spans.
  std::vector<char> bytes_;
};

}  // namespace ephor::tracer
