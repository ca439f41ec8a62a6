// SPDX-License-Identifier: Apache-2.0
//
// What is known of one correlation id: a row of `correlation_tracking`. Parts may come in any
// order; the record is the same in the end. A row holds all that is needed to go on from it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "component_extents.hpp"

namespace ephor::tracer {

struct CorrelationRecord {
  static constexpr std::size_t kErrorsMax = 16;

  struct Failure {
    std::int64_t time_ns = 0;
    std::string component;
    std::string operation;
    std::string message;
    friend auto operator<=>(const Failure&, const Failure&) = default;
  };
  // As an ephor.correlation_request gives it; its times win over what the spans tell.
  struct Request {
    std::optional<std::int64_t> request_ns;
    std::optional<std::int64_t> response_ns;
    std::vector<std::string> component_path;
    std::string metadata_json;  // object text, empty: none
  };

  std::string id;
  ComponentExtents extents;
  std::vector<Failure> failures;  // the earliest, sorted
  std::uint64_t error_count = 0;
  std::unique_ptr<Request> request;  // few ids have one

  void add_span(std::string_view component, std::string_view operation, std::int64_t start_ns,
                std::int64_t end_ns, bool is_error, std::string_view error_message);
  Request& told();  // makes one

  std::uint64_t span_count() const;
  // Microseconds since 1970, of the request and of the response.
  std::optional<std::int64_t> start_us() const;
  std::optional<std::int64_t> end_us() const;
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
