// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::tracer {

// The message with what varies from case to case replaced: numbers by <n>, hex ids and UUIDs by
// <id>, quoted texts by <text>; runs of blanks by one. At most 300 bytes.
std::string normalise_message(std::string_view message);

struct ErrorGroup {
  std::string component;
  std::string operation;
  std::string pattern;  // the normalised message
  std::uint64_t count = 0;
  std::int64_t first_seen_ns = 0;
  std::int64_t last_seen_ns = 0;
  std::vector<std::string> messages;   // the first few different ones, as they came
  std::vector<std::string> trace_ids;  // the latest few
};

// Failed spans grouped by component, operation and normalised message.
class ErrorGroups {
 public:
  static constexpr std::size_t kMessagesMax = 3;
  static constexpr std::size_t kMessageBytesMax = 500;
  static constexpr std::size_t kTracesMax = 5;

  explicit ErrorGroups(std::size_t groups_max) : groups_max_(groups_max) {}

  // `trace_id` is kept as a sample unless empty. Returns the group's fingerprint, also where there
  // was no room for it.
  std::uint64_t add(std::string_view component, std::string_view operation,
                    std::string_view message, std::int64_t time_ns, std::string_view trace_id);

  std::uint64_t total() const { return total_; }
  std::uint64_t ungrouped() const { return ungrouped_; }  // came when all groups were in use
  const std::map<std::uint64_t, ErrorGroup>& groups() const { return groups_; }  // by fingerprint

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t groups_max_;
  std::map<std::uint64_t, ErrorGroup> groups_;
  std::uint64_t total_ = 0;
  std::uint64_t ungrouped_ = 0;
};

}  // namespace ephor::tracer
