// SPDX-License-Identifier: Apache-2.0
//
// What is known of one correlation id: a row of `correlation_tracking`. Parts may come in any
// order; the record is the same in the end. A row holds all that is needed to go on from it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::tracer {

struct CorrelationRecord {
  static constexpr std::size_t kErrorsMax = 16;
  static constexpr std::size_t kTracesMax = 8;
  static constexpr std::size_t kComponentsMax = 64;

  struct Extent {  // of a component's spans
    std::string component;
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    std::uint64_t span_count = 0;
  };
  struct Failure {
    std::int64_t time_ns = 0;
    std::string component;
    std::string operation;
    std::string message;
    friend auto operator<=>(const Failure&, const Failure&) = default;
  };

  std::string id;
  std::vector<Extent> extents;
  std::vector<Failure> failures;  // the earliest, sorted
  std::vector<std::string> trace_ids;
  std::uint64_t error_count = 0;
  // As an ephor.correlation_request gives them; they win over what the spans tell.
  std::optional<std::int64_t> request_ns;
  std::optional<std::int64_t> response_ns;
  std::vector<std::string> requested_path;
  std::string client_metadata_json;  // object text, empty: none

  void add_span(std::string_view component, std::string_view operation, std::int64_t start_ns,
                std::int64_t end_ns, bool is_error, std::string_view error_message,
                std::string_view trace_id);

  std::uint64_t span_count() const;
  std::optional<std::int64_t> start_ns() const;     // of the request
  std::optional<std::int64_t> end_ns() const;       // of the response
  std::vector<std::string> component_path() const;  // by earliest span; the requested one if none
};

// The cells of its row, in the order of the table's columns; empty = NULL.
struct CorrelationRow {
  std::string correlation_id;
  std::string request_timestamp;
  std::string response_timestamp;
  std::string component_path;
  std::string performance_metrics_json;
  std::string error_info_json;
  std::string metadata_json;
};

CorrelationRow row_of(const CorrelationRecord& record);
// The record a row was made of. Empty if the row is not one of ours.
std::optional<CorrelationRecord> record_of(const CorrelationRow& row);

}  // namespace ephor::tracer
