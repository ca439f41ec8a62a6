// SPDX-License-Identifier: Apache-2.0
//
// A body of events, OTLP or Influx lines: from the socket into the host's memory and through its
// door.
#pragma once

#include <chrono>
#include <ephor/plugin.hpp>
#include <string_view>

#include "admission.hpp"
#include "answer.hpp"
#include "body.hpp"
#include "dialect.hpp"
#include "options.hpp"

namespace ephor::http_api {

// What of a request's head the door needs. A CloudEvent in binary mode (attributes as ce-* headers)
// is not taken; structured modes are.
struct IngestHead {
  std::string_view content_type;
  std::string_view content_encoding;
  std::string_view source;     // of records that name none
  std::string_view precision;  // of Influx lines: what the query string says
};

class Ingest {
 public:
  Ingest(const Host& host, const Options& options);

  // [any] Blocks until the events are durable. Failures are in Ephor's own words; see speak().
  Answer take(Builtin builtin, const IngestHead& head, Body& body);
  int waiting() { return gate_.waiting(); }

 private:
  const Options& options_;
  const ephor_journal& journal_;
  Gate gate_;
  Budget budget_;
  Series accepted_;
  Series duplicate_;
  Series rejected_;
  Series bytes_;
};

// EPHOR_FORMAT_* of a media type, -1 if it is none of events.
int ingest_format_of(std::string_view content_type);

bool is_protobuf(std::string_view content_type);
int otlp_format_of(Builtin builtin, std::string_view content_type);
// InfluxDB 1 has shorter names beside those of InfluxDB 2. -1: unknown.
int influx_format_of(std::string_view precision, Builtin builtin);

}  // namespace ephor::http_api
