// SPDX-License-Identifier: Apache-2.0
#include "correlation_record.hpp"

#include <algorithm>
#include <ephor/json.hpp>
#include <ephor/json_text.hpp>
#include <ephor/times.hpp>
#include <tuple>

#include "text.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kMessageBytesMax = 300;

std::int64_t time_at(const Json& object, const char* name) {
  return parse_time(object.at(name).get<std::string>()).value();
}

// By earliest span, so that the order of arrival does not show.
std::vector<const CorrelationRecord::Extent*> ordered_extents(const CorrelationRecord& record) {
  std::vector<const CorrelationRecord::Extent*> ordered;
  for (const auto& extent : record.extents) ordered.push_back(&extent);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return std::tie(a->start_ns, a->component) < std::tie(b->start_ns, b->component);
  });
  return ordered;
}

// A JSON object in the making.
class ObjectText {
 public:
  explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }
  std::string& key(std::string_view name) {
    if (has_members_) out_ += ',';
    has_members_ = true;
    append_json_text(out_, name);
    return out_ += ':';
  }
  void text(std::string_view name, std::string_view value) { append_json_text(key(name), value); }
  void time(std::string_view name, const std::optional<std::int64_t>& ns) {
    if (ns)
      text(name, format_time(*ns));
    else
      key(name) += "null";
  }
  template <typename Number>
  void number(std::string_view name, Number value) {
    append_json_number(key(name), value);
  }
  void texts(std::string_view name, const std::vector<std::string>& values) {
    key(name) += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ',';
      append_json_text(out_, values[i]);
    }
    out_ += ']';
  }
  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool has_members_ = false;
};

std::string performance_of(const CorrelationRecord& record) {
  std::string out;
  ObjectText object(out);
  const auto start = record.start_ns();
  const auto end = record.end_ns();
  if (start && end)
    object.number("duration_ms", to_milliseconds(*end - *start));
  else
    object.key("duration_ms") += "null";
  object.number("span_count", record.span_count());
  object.number("error_count", record.error_count);
  ObjectText components(object.key("components"));
  for (const auto* extent : ordered_extents(record)) {
    ObjectText component(components.key(extent->component));
    component.time("start", extent->start_ns);
    component.time("end", extent->end_ns);
    component.number("ms", to_milliseconds(extent->end_ns - extent->start_ns));
    component.number("spans", extent->span_count);
    component.close();
  }
  components.close();
  object.close();
  return out;
}

std::string errors_of(const CorrelationRecord& record) {
  std::string out;
  ObjectText object(out);
  object.key("errors") += '[';
  for (std::size_t i = 0; i < record.failures.size(); ++i) {
    if (i > 0) out += ',';
    ObjectText error(out);
    error.time("time", record.failures[i].time_ns);
    error.text("component", record.failures[i].component);
    error.text("operation", record.failures[i].operation);
    error.text("message", record.failures[i].message);
    error.close();
  }
  out += ']';
  object.number("count", record.error_count);
  object.close();
  return out;
}

// The client's own metadata with one member of ours beside it.
std::string metadata_of(const CorrelationRecord& record) {
  std::string own;
  ObjectText object(own);
  object.texts("trace_ids", record.trace_ids);
  object.time("request_timestamp", record.request_ns);
  object.time("response_timestamp", record.response_ns);
  object.texts("component_path", record.requested_path);
  object.close();
  if (record.client_metadata_json.empty()) return R"({"ephor":)" + own + "}";
  Json metadata = Json::parse(record.client_metadata_json, nullptr, false);
  if (!metadata.is_object()) metadata = Json::object();
  metadata["ephor"] = Json::parse(own);
  return dump(metadata);
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
  const bool is_known = std::find(trace_ids.begin(), trace_ids.end(), trace_id) != trace_ids.end();
  if (!trace_id.empty() && !is_known && trace_ids.size() < kTracesMax) {
    trace_ids.emplace_back(trace_id);
  }
  if (!is_error) return;
  ++error_count;
  Failure failure{end, std::string(component), std::string(operation),
                  std::string(cut_text(error_message, kMessageBytesMax))};
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
  for (const Extent& extent : extents)
    start = std::min(start.value_or(extent.start_ns), extent.start_ns);
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
  std::vector<std::string> path;
  for (const Extent* extent : ordered_extents(*this)) path.push_back(extent->component);
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
  row.performance_metrics_json = performance_of(record);
  if (record.error_count > 0) row.error_info_json = errors_of(record);
  row.metadata_json = metadata_of(record);
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
    if (!own.at("request_timestamp").is_null())
      record.request_ns = time_at(own, "request_timestamp");
    if (!own.at("response_timestamp").is_null()) {
      record.response_ns = time_at(own, "response_timestamp");
    }
    return record;
  } catch (const std::exception&) {  // JSON of another shape, or a time that is none
    return std::nullopt;
  }
}

}  // namespace ephor::tracer
