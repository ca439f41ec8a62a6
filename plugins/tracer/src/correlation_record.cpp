// SPDX-License-Identifier: Apache-2.0
#include "correlation_record.hpp"

#include <ephor/json.hpp>

#include <algorithm>
#include <tuple>

#include "times.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kMessageBytesMax = 300;

Json time_or_null(const std::optional<std::int64_t>& ns) {
  return ns ? Json(format_time(*ns)) : Json();
}

std::int64_t time_at(const Json& object, const char* name) {
  return parse_time(object.at(name).get<std::string>()).value();
}

Json performance_of(const CorrelationRecord& record) {
  Json components = Json::object();
  for (const auto& extent : record.extents) {
    components[extent.component] = {{"start", format_time(extent.start_ns)},
                                    {"end", format_time(extent.end_ns)},
                                    {"ms", milliseconds(extent.end_ns - extent.start_ns)},
                                    {"spans", extent.span_count}};
  }
  const auto start = record.start_ns();
  const auto end = record.end_ns();
  return {{"duration_ms", start && end ? Json(milliseconds(*end - *start)) : Json()},
          {"span_count", record.span_count()},
          {"error_count", record.error_count},
          {"components", std::move(components)}};
}

Json errors_of(const CorrelationRecord& record) {
  Json errors = Json::array();
  for (const auto& failure : record.failures) {
    errors.push_back({{"time", format_time(failure.time_ns)},
                      {"component", failure.component},
                      {"operation", failure.operation},
                      {"message", failure.message}});
  }
  return {{"errors", std::move(errors)}, {"count", record.error_count}};
}

// The client's own metadata with one member of ours beside it.
Json metadata_of(const CorrelationRecord& record) {
  Json metadata = Json::object();
  if (!record.client_metadata_json.empty()) {
    Json client = Json::parse(record.client_metadata_json, nullptr, false);
    if (client.is_object()) metadata = std::move(client);
  }
  metadata["ephor"] = {{"trace_ids", record.trace_ids},
                       {"request_timestamp", time_or_null(record.request_ns)},
                       {"response_timestamp", time_or_null(record.response_ns)},
                       {"component_path", record.requested_path}};
  return metadata;
}

}  // namespace

void CorrelationRecord::add_span(std::string_view component, std::string_view operation,
                                 std::int64_t start, std::int64_t end, bool is_error,
                                 std::string_view error_message, std::string_view trace_id) {
  auto extent = std::find_if(extents.begin(), extents.end(),
                             [&](const Extent& e) { return e.component == component; });
  if (extent == extents.end() && extents.size() < kComponentsMax) {
    extents.push_back({std::string(component), start, end, 0});
    extent = extents.end() - 1;
  }
  if (extent != extents.end()) {
    extent->start_ns = std::min(extent->start_ns, start);
    extent->end_ns = std::max(extent->end_ns, end);
    ++extent->span_count;
  }
  const bool is_known =
      std::find(trace_ids.begin(), trace_ids.end(), trace_id) != trace_ids.end();
  if (!trace_id.empty() && !is_known && trace_ids.size() < kTracesMax) {
    trace_ids.emplace_back(trace_id);
  }
  if (!is_error) return;
  ++error_count;
  Failure failure{end, std::string(component), std::string(operation),
                  std::string(error_message.substr(0, kMessageBytesMax))};
  failures.insert(std::upper_bound(failures.begin(), failures.end(), failure), std::move(failure));
  if (failures.size() > kErrorsMax) failures.pop_back();
}

std::uint64_t CorrelationRecord::span_count() const {
  std::uint64_t count = 0;
  for (const Extent& extent : extents) count += extent.span_count;
  return count;
}

std::optional<std::int64_t> CorrelationRecord::start_ns() const {
  std::optional<std::int64_t> start = request_ns;
  if (start) return start;
  for (const Extent& extent : extents) start = std::min(start.value_or(extent.start_ns), extent.start_ns);
  return start;
}

std::optional<std::int64_t> CorrelationRecord::end_ns() const {
  std::optional<std::int64_t> end = response_ns;
  if (end) return end;
  for (const Extent& extent : extents) end = std::max(end.value_or(extent.end_ns), extent.end_ns);
  return end;
}

std::vector<std::string> CorrelationRecord::component_path() const {
  if (extents.empty()) return requested_path;
  std::vector<const Extent*> ordered;
  for (const Extent& extent : extents) ordered.push_back(&extent);
  std::sort(ordered.begin(), ordered.end(), [](const Extent* a, const Extent* b) {
    return std::tie(a->start_ns, a->component) < std::tie(b->start_ns, b->component);
  });
  std::vector<std::string> path;
  for (const Extent* extent : ordered) path.push_back(extent->component);
  return path;
}

CorrelationRow row_of(const CorrelationRecord& record) {
  CorrelationRow row;
  row.correlation_id = record.id;
  if (const auto start = record.start_ns()) row.request_timestamp = format_time(*start);
  if (const auto end = record.end_ns()) row.response_timestamp = format_time(*end);
  for (const std::string& component : record.component_path()) {
    if (!row.component_path.empty()) row.component_path += '>';
    row.component_path += component;
  }
  row.performance_metrics_json = dump(performance_of(record));
  if (record.error_count > 0) row.error_info_json = dump(errors_of(record));
  row.metadata_json = dump(metadata_of(record));
  return row;
}

std::optional<CorrelationRecord> record_of(const CorrelationRow& row) {
  try {
    CorrelationRecord record;
    record.id = row.correlation_id;
    const Json performance = Json::parse(row.performance_metrics_json);
    for (const auto& [component, extent] : performance.at("components").items()) {
      record.extents.push_back({component, time_at(extent, "start"), time_at(extent, "end"),
                                extent.at("spans").get<std::uint64_t>()});
    }
    record.error_count = performance.at("error_count").get<std::uint64_t>();
    if (!row.error_info_json.empty()) {
      const Json info = Json::parse(row.error_info_json);
      for (const Json& error : info.at("errors")) {
        record.failures.push_back({time_at(error, "time"), error.at("component"),
                                   error.at("operation"), error.at("message")});
      }
    }
    Json metadata = Json::parse(row.metadata_json);
    const Json own = metadata.at("ephor");
    metadata.erase("ephor");
    if (!metadata.empty()) record.client_metadata_json = dump(metadata);
    record.trace_ids = own.at("trace_ids").get<std::vector<std::string>>();
    record.requested_path = own.at("component_path").get<std::vector<std::string>>();
    if (!own.at("request_timestamp").is_null()) record.request_ns = time_at(own, "request_timestamp");
    if (!own.at("response_timestamp").is_null()) {
      record.response_ns = time_at(own, "response_timestamp");
    }
    return record;
  } catch (const std::exception&) {  // JSON of another shape, or a time that is none
    return std::nullopt;
  }
}

}  // namespace ephor::tracer
