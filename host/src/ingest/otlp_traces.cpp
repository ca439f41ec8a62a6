// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_traces.hpp"

#include <cstring>

namespace ephor::host {
namespace {

constexpr std::uint32_t kResourceSpans = 1;  // of the request
constexpr std::uint32_t kResource = 1;       // of ResourceSpans
constexpr std::uint32_t kScopeSpans = 2;
constexpr std::uint32_t kScope = 1;  // of ScopeSpans
constexpr std::uint32_t kSpans = 2;
constexpr std::uint32_t kResourceAttributes = 1;
constexpr std::uint32_t kScopeAttributes = 3;

std::string pointer_to(std::uint32_t resource) {
  return "/resourceSpans/" + std::to_string(resource);
}
std::string pointer_to(std::uint32_t resource, std::uint32_t scope) {
  std::string out = pointer_to(resource);
  out += "/scopeSpans/";
  out += std::to_string(scope);
  return out;
}

}  // namespace

void append_stored_span(std::string& body, std::string_view source, std::string_view span) {
  const std::uint32_t sizes[] = {static_cast<std::uint32_t>(source.size()),
                                 static_cast<std::uint32_t>(span.size())};
  body.append(reinterpret_cast<const char*>(sizes), sizeof sizes);
  body += source;
  body += span;
}

OtlpTraces::OtlpTraces(const IngestConfig& config, Names& names, OtlpSources& sources)
    : config_(config), names_(names), spans_(config, names), sources_(sources) {}

void OtlpTraces::begin(std::int64_t arrived_ns, DoorSink& sink) {
  sink_ = &sink;
  arrived_ns_ = arrived_ns;
  line_ = 0;
}

void OtlpTraces::admit(std::string_view body, std::int64_t arrived_ns, DoorSink& sink) {
  begin(arrived_ns, sink);
  ProtoReader in(body);
  Place place;
  while (in.next()) {
    if (!in.is(kResourceSpans, WireType::bytes)) continue;
    resource_spans(in.bytes(), place);
    ++place.resource;
  }
  if (!in.ok()) reject_rest("", in, "an ExportTraceServiceRequest");
}

void OtlpTraces::admit_stored(std::string_view body, std::int64_t arrived_ns, DoorSink& sink) {
  begin(arrived_ns, sink);
  const auto size = [](std::string_view at) {
    std::uint32_t out = 0;
    std::memcpy(&out, at.data(), sizeof out);
    return out;
  };
  constexpr std::size_t kHead = 2 * sizeof(std::uint32_t);
  std::string_view last_source;
  OtlpSource source;
  while (body.size() >= kHead) {
    const std::uint32_t source_size = size(body);
    const std::uint32_t span_size = size(body.substr(sizeof(std::uint32_t)));
    if (kHead + std::uint64_t{source_size} + span_size > body.size()) break;
    const std::string_view text = body.substr(kHead, source_size);
    if (last_source.data() == nullptr || text != last_source) {
      last_source = text;
      source = otlp_source_of(names_.sources.id(text), text);
    }
    source_ = &source;
    take(body.substr(kHead + source_size, span_size), true, Place{0, 0, line_});
    body.remove_prefix(kHead + source_size + span_size);
  }
}

void OtlpTraces::resource_spans(std::string_view message, Place place) {
  // The resource may stand behind its spans.
  resources_.clear();
  ProtoReader first(message);
  while (first.next()) {
    if (first.is(kResource, WireType::bytes)) resources_.push_back(first.bytes());
  }
  const bool is_good = check(kResourceAttributes, resources_, "resource");
  if (!is_good) source_fault_.json_pointer.insert(0, pointer_to(place.resource));
  const std::uint32_t lines_before = line_;
  ProtoReader in(message);
  while (in.next()) {
    if (!in.is(kScopeSpans, WireType::bytes)) continue;
    scope_spans(in.bytes(), place, is_good);
    ++place.scope;
  }
  if (!is_good) reject_source(lines_before);
  if (!in.ok()) reject_rest(pointer_to(place.resource), in, "the fields of a ResourceSpans");
}

void OtlpTraces::scope_spans(std::string_view message, Place place, bool is_good) {
  scopes_.clear();
  bool is_source_refused = false;  // the scope, not the resource
  ProtoReader first(message);
  while (first.next()) {
    if (first.is(kScope, WireType::bytes)) scopes_.push_back(first.bytes());
  }
  if (is_good && !check(kScopeAttributes, scopes_, "scope")) {
    source_fault_.json_pointer.insert(0, pointer_to(place.resource, place.scope));
    is_good = false;
    is_source_refused = true;
  }
  source_ = is_good ? &sources_.of(resources_, scopes_) : nullptr;
  const std::uint32_t lines_before = line_;
  ProtoReader in(message);
  while (in.next()) {
    if (!in.is(kSpans, WireType::bytes)) continue;
    take(in.bytes(), true, place);
    ++place.span;
  }
  if (is_source_refused) reject_source(lines_before);
  if (!in.ok()) {
    reject_rest(pointer_to(place.resource, place.scope), in, "the fields of a ScopeSpans");
  }
}

bool OtlpTraces::check(std::uint32_t field, const std::vector<std::string_view>& messages,
                       std::string_view name) {
  for (const std::string_view message : messages) {
    if (!spans_.check_source(message, field, source_fault_)) return below(source_fault_, name);
  }
  return true;
}

// source_ is null where resource or scope cannot be used: then every span is refused with them.
void OtlpTraces::take(std::string_view span, bool is_in_body, const Place& place) {
  ++line_;
  if (source_ == nullptr) return sink_->reject(line_, source_fault_);
  ephor_event event;
  Hash128 id;
  if (!spans_.describe(span, *source_, arrived_ns_, event, id, fault_)) return reject(place);
  sink_->take(event, is_in_body, id, spans_.joins(), line_);
}

// A damaged resource or scope without a span is told, too.
void OtlpTraces::reject_source(std::uint32_t lines_before) {
  if (line_ == lines_before) sink_->reject(++line_, source_fault_);
}

void OtlpTraces::reject(const Place& place) {
  std::string pointer = pointer_to(place.resource, place.scope);
  pointer += "/spans/";
  pointer += std::to_string(place.span);
  // A place deep inside that would not fit an error: the span's must do.
  if (pointer.size() + fault_.json_pointer.size() > kJsonPointerBytesMax) {
    fault_.json_pointer.clear();
  }
  fault_.json_pointer.insert(0, pointer);
  sink_->reject(line_, std::move(fault_));
  fault_ = {};
}

void OtlpTraces::reject_rest(std::string pointer, const ProtoReader& in,
                             std::string_view expected) {
  std::string reason = "found ";
  reason += in.error();
  reason += " at byte ";
  reason += std::to_string(in.offset());
  reason += ", expected ";
  reason += expected;
  reason += "; what follows cannot be read";
  sink_->reject(++line_, {std::move(pointer), std::move(reason)});
}

}  // namespace ephor::host
