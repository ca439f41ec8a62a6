// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor::tracer {

// The message with what varies from case to case replaced: numbers by <n>, hex ids and UUIDs by
// <id>, quoted texts by <text>; runs of blanks by one. At most 300 bytes.
std::string normalise_message(std::string_view message);

// The function and file of the frame that threw, without line numbers, which move from version to
// version: "load (prices.py)". Knows the stack traces of Python, Java and its kin, JavaScript, Go,
// .NET and Ruby; empty where it knows nothing. At most 200 bytes.
std::string top_frame(std::string_view stacktrace);

// A failed span.
struct ErrorFacts {
  std::string_view component;
  std::string_view operation;
  std::string_view type;      // exception.type; may be empty
  std::string_view message;   // of the exception, else of the span
  std::string_view location;  // top_frame; may be empty
  std::string_view trace_id;  // kept as a sample unless empty
  std::int64_t time_ns = 0;
};

struct ErrorGroup {
  std::string component;
  std::string operation;
  std::string type;
  std::string pattern;  // the normalised message
  std::string location;
  std::uint64_t count = 0;
  std::int64_t first_seen_ns = 0;
  std::int64_t last_seen_ns = 0;
  std::vector<std::string> messages;   // the first few different ones, as they came
  std::vector<std::string> trace_ids;  // the latest few
  // Came back after nothing of it had been seen for the time that counts as gone.
  std::uint64_t regressions = 0;
  std::int64_t regressed_ns = 0;                              // the latest time
  std::int64_t absence_ns = 0;                                // before that
  std::vector<std::pair<std::int64_t, std::uint64_t>> hours;  // (number, count), the latest

  std::uint64_t count_since(std::int64_t hour) const;
};

// Failed spans grouped by component, operation, type, normalised message and location.
class ErrorGroups {
 public:
  static constexpr std::size_t kMessagesMax = 3;
  static constexpr std::size_t kMessageBytesMax = 500;
  static constexpr std::size_t kTracesMax = 5;
  static constexpr std::int64_t kHourNs = 3'600'000'000'000;
  static constexpr std::size_t kHoursMax = 168;

  // `gone_ns`: a group not seen for that long is gone, and regresses when it comes back.
  explicit ErrorGroups(std::size_t groups_max, std::int64_t gone_ns = 24 * kHourNs)
      : groups_max_(groups_max), gone_ns_(gone_ns) {}

  // Returns the group's fingerprint, also where there was no room for it.
  std::uint64_t add(const ErrorFacts& facts);
  std::uint64_t add(std::string_view component, std::string_view operation,
                    std::string_view message, std::int64_t time_ns, std::string_view trace_id) {
    return add({component, operation, {}, message, {}, trace_id, time_ns});
  }

  std::int64_t gone_ns() const { return gone_ns_; }

  std::uint64_t total() const { return total_; }
  std::uint64_t ungrouped() const { return ungrouped_; }  // came when all groups were in use
  const std::map<std::uint64_t, ErrorGroup>& groups() const { return groups_; }  // by fingerprint

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t groups_max_;
  std::int64_t gone_ns_;
  std::map<std::uint64_t, ErrorGroup> groups_;
  std::uint64_t total_ = 0;
  std::uint64_t ungrouped_ = 0;
};

}  // namespace ephor::tracer
