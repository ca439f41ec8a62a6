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
constexpr char kPathSeparator = '>';

std::int64_t time_at(const Json& object, const char* name) {
  return parse_time(object.at(name).get<std::string>()).value();
}

// Towards the past for what begins and towards the future for what ends, so that rounding does not
// depend on which spans were together in memory.
std::int64_t start_us_of(std::int64_t ns) { return ns / 1000 - (ns % 1000 < 0 ? 1 : 0); }
std::int64_t end_us_of(std::int64_t ns) { return ns / 1000 + (ns % 1000 > 0 ? 1 : 0); }

// Six digits: "2026-11-23T03:27:50.105091Z"; none where the fraction is zero.
std::string time_text(std::int64_t us) {
  std::string text = format_time(us * 1000);
  if (text.size() > 21) text.replace(text.size() - 4, 4, "Z");
  return text;
}

struct Extent {
  std::string_view component;
  ComponentExtents::Times times;
};

// By earliest span, so that the order of arrival does not show; what began in one microsecond, the
// one that encloses the other first.
std::vector<Extent> ordered_extents(const CorrelationRecord& record) {
  std::vector<Extent> ordered;
  record.extents.for_each([&](std::string_view component, const ComponentExtents::Times& times) {
    ordered.push_back({component, times});
  });
  std::sort(ordered.begin(), ordered.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.times.start_us, b.times.end_us, a.component) <
           std::tie(b.times.start_us, a.times.end_us, b.component);
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

// One row for each correlation id is most of what this plugin stores, so a component has no more
// than three numbers: microseconds from the first span of all to its own first, its length, its
// spans. They stand in the order of component_path. The first span's time is the row's
// request_timestamp unless a client gave another.
std::string performance_of(const CorrelationRecord& record) {
  std::string out;
  ObjectText object(out);
  const auto start = record.start_us();
  const auto end = record.end_us();
  if (start && end)
    object.number("duration_ms", static_cast<double>(*end - *start) / 1000.0);
  else
    object.key("duration_ms") += "null";
  object.number("span_count", record.span_count());
  if (record.error_count > 0) object.number("error_count", record.error_count);
  const std::vector<Extent> extents = ordered_extents(record);
  const bool has_other_start = record.request != nullptr && record.request->request_ns.has_value();
  if (!extents.empty() && has_other_start) {
    object.text("first_span", time_text(extents.front().times.start_us));
  }
  std::string& list = object.key("components_us") += '[';
  for (const auto& [component, times] : extents) {
    if (list.back() != '[') list += ',';
    list += '[';
    append_json_number(list, times.start_us - extents.front().times.start_us);
    list += ',';
    append_json_number(list, times.end_us - times.start_us);
    list += ',';
    append_json_number(list, times.span_count);
    list += ']';
  }
  list += ']';
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

// The client's own metadata with one member of ours beside it; empty when there is neither.
std::string metadata_of(const CorrelationRecord::Request& request) {
  Json own = Json::object();
  if (request.request_ns) own["request_timestamp"] = format_time(*request.request_ns);
  if (request.response_ns) own["response_timestamp"] = format_time(*request.response_ns);
  if (!request.component_path.empty()) own["component_path"] = request.component_path;
  Json metadata = Json::object();
  if (!request.metadata_json.empty()) {
    metadata = Json::parse(request.metadata_json, nullptr, false);
    if (!metadata.is_object()) metadata = Json::object();
  }
  if (!own.empty()) metadata["ephor"] = std::move(own);
  return metadata.empty() ? std::string() : dump(metadata);
}

void read_metadata(const std::string& text, CorrelationRecord::Request& request) {
  Json metadata = Json::parse(text);
  const Json own = metadata.value("ephor", Json::object());
  metadata.erase("ephor");
  if (!metadata.empty()) request.metadata_json = dump(metadata);
  request.component_path = own.value("component_path", std::vector<std::string>());
  if (own.contains("request_timestamp")) request.request_ns = time_at(own, "request_timestamp");
  if (own.contains("response_timestamp")) request.response_ns = time_at(own, "response_timestamp");
}

// At least one part, which may be empty.
std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = path.find(kPathSeparator);
    parts.emplace_back(path.substr(0, end));
    if (end == std::string_view::npos) return parts;
    path.remove_prefix(end + 1);
  }
}

}  // namespace

void CorrelationRecord::add_span(std::string_view component, std::string_view operation,
                                 std::int64_t start_ns, std::int64_t end_ns, bool is_error,
                                 std::string_view error_message) {
  std::string separable;  // a name in a path that can be taken apart again
  if (component.find(kPathSeparator) != std::string_view::npos) {
    separable = component;
    std::replace(separable.begin(), separable.end(), kPathSeparator, '_');
    component = separable;
  }
  component = cut_text(component, ComponentExtents::kNameBytesMax);
  extents.add(component, {start_us_of(start_ns), end_us_of(end_ns), 1});
  if (!is_error) return;
  ++error_count;
  Failure failure{end_ns, std::string(component), std::string(operation),
                  std::string(cut_text(error_message, kMessageBytesMax))};
  failures.insert(std::upper_bound(failures.begin(), failures.end(), failure), std::move(failure));
  if (failures.size() > kErrorsMax) failures.pop_back();
}

CorrelationRecord::Request& CorrelationRecord::told() {
  if (request == nullptr) request = std::make_unique<Request>();
  return *request;
}

std::uint64_t CorrelationRecord::span_count() const {
  std::uint64_t count = 0;
  extents.for_each([&](std::string_view, const auto& times) { count += times.span_count; });
  return count;
}

std::optional<std::int64_t> CorrelationRecord::start_us() const {
  if (request != nullptr && request->request_ns) return start_us_of(*request->request_ns);
  std::optional<std::int64_t> start;
  extents.for_each([&](std::string_view, const auto& times) {
    start = std::min(start.value_or(times.start_us), times.start_us);
  });
  return start;
}

std::optional<std::int64_t> CorrelationRecord::end_us() const {
  if (request != nullptr && request->response_ns) return end_us_of(*request->response_ns);
  std::optional<std::int64_t> end;
  extents.for_each([&](std::string_view, const auto& times) {
    end = std::max(end.value_or(times.end_us), times.end_us);
  });
  return end;
}

std::vector<std::string> CorrelationRecord::component_path() const {
  std::vector<std::string> path;
  for (const Extent& extent : ordered_extents(*this)) path.emplace_back(extent.component);
  return path.empty() && request != nullptr ? request->component_path : path;
}

CorrelationRow row_of(const CorrelationRecord& record) {
  CorrelationRow row;
  row.correlation_id = record.id;
  if (const auto start = record.start_us()) row.request_timestamp = time_text(*start);
  if (const auto end = record.end_us()) row.response_timestamp = time_text(*end);
  const std::vector<std::string> path = record.component_path();
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (i > 0) row.component_path += kPathSeparator;
    row.component_path += path[i];
  }
  row.performance_metrics_json = performance_of(record);
  if (record.error_count > 0) row.error_info_json = errors_of(record);
  if (record.request != nullptr) row.metadata_json = metadata_of(*record.request);
  return row;
}

std::optional<CorrelationRecord> record_of(const CorrelationRow& row) {
  try {
    CorrelationRecord record;
    record.id = row.correlation_id;
    if (!row.metadata_json.empty()) read_metadata(row.metadata_json, record.told());
    const Json performance = Json::parse(row.performance_metrics_json);
    const Json& components = performance.at("components_us");
    if (!components.empty()) {
      const std::vector<std::string> names = split_path(row.component_path);
      const std::int64_t first_us =
          (performance.contains("first_span") ? time_at(performance, "first_span")
                                              : parse_time(row.request_timestamp).value()) /
          1000;
      for (std::size_t i = 0; i < components.size(); ++i) {
        const Json& extent = components.at(i);
        const std::int64_t start_us = first_us + extent.at(0).get<std::int64_t>();
        record.extents.add(names.at(i), {start_us, start_us + extent.at(1).get<std::int64_t>(),
                                         extent.at(2).get<std::uint32_t>()});
      }
    }
    record.error_count = performance.value("error_count", std::uint64_t{0});
    if (!row.error_info_json.empty()) {
      const Json info = Json::parse(row.error_info_json);
      for (const Json& error : info.at("errors")) {
        record.failures.push_back({time_at(error, "time"), error.at("component"),
                                   error.at("operation"), error.at("message")});
      }
    }
    return record;
  } catch (const std::exception&) {  // JSON of another shape, or a time that is none
    return std::nullopt;
  }
}

}  // namespace ephor::tracer
