// SPDX-License-Identifier: Apache-2.0
//
// OTLP traces at the door: an ExportTraceServiceRequest as protobuf or as OTLP/JSON. Each span is
// one event whose record is the bytes of its Span message. Of protobuf they stay where they are in
// the body; of JSON they are written, in the canonical order of fields, so that the same request in
// both forms gives the same records.
//
// A bad span is rejected alone, a damaged scope or resource with all its spans, and bytes that are
// no message with one rejection for what cannot be reached; what stands before is kept.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/door_sink.hpp"
#include "ingest/otlp_sources.hpp"
#include "ingest/otlp_span.hpp"

namespace ephor::host {

// Spans that were stored before, for a replay: per span two sizes of four bytes (little endian),
// the source's text and the span. Not a format of the ABI.
inline constexpr std::uint32_t kFormatStoredSpans = 0x0101;
void append_stored_span(std::string& body, std::string_view source, std::string_view span);

// One per worker.
class OtlpTraces {
 public:
  // `config`, `names` and `sources` outlive it.
  OtlpTraces(const IngestConfig& config, Names& names, OtlpSources& sources);

  void admit(std::string_view body, std::int64_t arrived_ns, DoorSink& sink);
  void admit_json(std::string_view body, std::int64_t arrived_ns, DoorSink& sink);
  void admit_stored(std::string_view body, std::int64_t arrived_ns, DoorSink& sink);

 private:
  // Where in the request a span stands.
  struct Place {
    std::uint32_t resource = 0;
    std::uint32_t scope = 0;
    std::uint32_t span = 0;
  };

  void begin(std::int64_t arrived_ns, DoorSink& sink);
  void resource_spans(std::string_view message, Place place);
  void scope_spans(std::string_view message, Place place, bool is_good);
  bool check(std::uint32_t field, const std::vector<std::string_view>& messages,
             std::string_view name);
  void take(std::string_view span, bool is_in_body, const Place& place);
  void reject(const Place& place);
  void reject_source(std::uint32_t lines_before);
  void reject_rest(std::string pointer, const ProtoReader& in, std::string_view expected);

  void json_resource(simdjson::dom::element json, Place place);
  void json_scope(simdjson::dom::element json, Place place, bool is_good);

  const IngestConfig& config_;
  Names& names_;
  OtlpSpanReader spans_;
  OtlpSourceCache sources_;
  simdjson::dom::parser parser_;

  // Of the body in hand.
  DoorSink* sink_ = nullptr;
  std::int64_t arrived_ns_ = 0;
  std::uint32_t line_ = 0;
  std::vector<std::string_view> resources_;
  std::vector<std::string_view> scopes_;
  const OtlpSource* source_ = nullptr;
  Fault source_fault_;  // why the resource or the scope in hand is refused
  Fault fault_;
  std::string resource_bytes_;  // of JSON
  std::string scope_bytes_;
  std::string span_bytes_;
};

}  // namespace ephor::host
