// SPDX-License-Identifier: Apache-2.0
//
// POST /api/events: a body from the socket into the host's memory and through its door.
#pragma once

#include <chrono>
#include <ephor/plugin.hpp>
#include <string_view>

#include "admission.hpp"
#include "answer.hpp"
#include "body.hpp"
#include "options.hpp"

namespace ephor::http_api {

// What of a request's head the door needs. A CloudEvent in binary mode (attributes as ce-* headers)
// is not taken; structured modes are.
struct IngestHead {
  std::string_view content_type;
  std::string_view content_encoding;
  std::string_view source;  // of records that name none; the token's name
};

class Ingest {
 public:
  Ingest(const Host& host, const Options& options);

  // [any] Blocks until the events are durable.
  Answer take(const IngestHead& head, Body& body);

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

}  // namespace ephor::http_api
