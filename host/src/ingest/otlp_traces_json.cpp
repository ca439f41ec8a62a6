// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <new>

#include "ingest/json_fault.hpp"
#include "ingest/json_text.hpp"
#include "ingest/otlp_json.hpp"
#include "ingest/otlp_traces.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

// A value takes three levels of JSON ({"arrayValue": {"values": [..]}}), and above the values stand
// the request's own.
std::size_t json_depth_max(const IngestConfig& config) { return 3 * config.depth_max + 16; }

// What a big body took goes back.
constexpr std::size_t kKeepCapacityBytes = 4U << 20;

}  // namespace

void OtlpTraces::admit_json(std::string_view body, std::int64_t arrived_ns, DoorSink& sink) {
  begin(arrived_ns, sink);
  constexpr std::size_t kLeastBytes = 16'384;
  const std::size_t wanted = std::max(body.size(), kLeastBytes);
  if (parser_.capacity() < wanted &&
      parser_.allocate(wanted, json_depth_max(config_)) != simdjson::SUCCESS) {
    throw std::bad_alloc();
  }
  dom::element root;
  const auto error = parser_.parse(body.data(), body.size(), false).get(root);
  if (error != simdjson::SUCCESS) {
    sink.reject(1, json_fault(body, static_cast<std::uint32_t>(json_depth_max(config_)),
                              simdjson::error_message(error)));
    return;
  }
  if (!root.is_object()) {
    sink.reject(1, {"", "found " + shown(root) + ", expected an ExportTraceServiceRequest object"});
    return;
  }
  dom::element list;
  if (!otlp_member(root, "resourceSpans", "resource_spans", list)) return;
  dom::array resources;
  if (list.get(resources) != simdjson::SUCCESS) {
    sink.reject(1, {"/resourceSpans", "found " + shown(list) + ", expected an array"});
    return;
  }
  Place place;
  for (const dom::element one : resources) {
    json_resource(one, place);
    ++place.resource;
  }
  if (parser_.capacity() > kKeepCapacityBytes) parser_ = dom::parser();
}

void OtlpTraces::json_resource(dom::element json, Place place) {
  const std::string pointer = "/resourceSpans/" + std::to_string(place.resource);
  dom::element resource;
  dom::element list;
  dom::array scopes;
  if (!json.is_object()) {
    return sink_->reject(++line_, {pointer, "found " + shown(json) + ", expected an object"});
  }
  if (!otlp_member(json, "scopeSpans", "scope_spans", list)) return;
  if (list.get(scopes) != simdjson::SUCCESS) {
    return sink_->reject(++line_,
                         {pointer + "/scopeSpans", "found " + shown(list) + ", expected an array"});
  }
  resource_bytes_.clear();
  resources_.clear();
  bool is_good = true;
  if (otlp_member(json, "resource", "resource", resource)) {
    is_good = write_otlp_resource(resource, resource_bytes_, source_fault_);
    if (!is_good) below(source_fault_, "resource");
    resources_.push_back(resource_bytes_);
    is_good = is_good && check(1, resources_, "resource");
  }
  if (!is_good) source_fault_.json_pointer.insert(0, pointer);
  const std::uint32_t lines_before = line_;
  for (const dom::element one : scopes) {
    json_scope(one, place, is_good);
    ++place.scope;
  }
  if (!is_good) reject_source(lines_before);
}

void OtlpTraces::json_scope(dom::element json, Place place, bool is_good) {
  std::string pointer = "/resourceSpans/" + std::to_string(place.resource);
  pointer += "/scopeSpans/" + std::to_string(place.scope);
  dom::element scope;
  dom::element list;
  dom::array spans;
  if (!json.is_object()) {
    return sink_->reject(++line_, {pointer, "found " + shown(json) + ", expected an object"});
  }
  if (!otlp_member(json, "spans", "spans", list)) return;
  if (list.get(spans) != simdjson::SUCCESS) {
    return sink_->reject(++line_,
                         {pointer + "/spans", "found " + shown(list) + ", expected an array"});
  }
  bool is_source_refused = false;  // the scope, not the resource
  scope_bytes_.clear();
  scopes_.clear();
  if (is_good && otlp_member(json, "scope", "scope", scope)) {
    is_good = write_otlp_scope(scope, scope_bytes_, source_fault_);
    if (!is_good) below(source_fault_, "scope");
    scopes_.push_back(scope_bytes_);
    is_good = is_good && check(3, scopes_, "scope");
    is_source_refused = !is_good;
    if (!is_good) source_fault_.json_pointer.insert(0, pointer);
  }
  const std::uint32_t lines_before = line_;
  source_ = is_good ? &sources_.of(resources_, scopes_) : nullptr;
  for (const dom::element one : spans) {
    span_bytes_.clear();
    if (source_ != nullptr && !write_otlp_span(one, span_bytes_, fault_)) {
      ++line_;
      reject(place);
    } else {
      take(span_bytes_, false, place);
    }
    ++place.span;
  }
  if (is_source_refused) reject_source(lines_before);
}

}  // namespace ephor::host
