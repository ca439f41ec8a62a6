// SPDX-License-Identifier: Apache-2.0
//
// Events made at the door of what came in another shape than CloudEvents.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ingest/fault.hpp"

namespace ephor::host {

// The text of one event and what it stands for.
struct MadeEvent {
  std::string_view record;         // a CloudEvents object
  std::uint32_t first_line = 0;    // of the items in it, from 1
  std::uint32_t record_count = 1;  // items: lines, data points, log records
  std::uint8_t flags = 0;          // EPHOR_EVENT_TIME_... of times inside, beside the envelope's
  std::string_view pointer;        // the item in the body, for a rejection
};

// Takes what a reader makes of a body, in its order.
class MadeEventSink {
 public:
  virtual ~MadeEventSink() = default;
  virtual void take(const MadeEvent& event) = 0;
  virtual void reject(std::uint32_t line, Fault fault) = 0;
};

// What a reader must know of the host and of the request.
struct MadeContext {
  std::string_view default_source;  // never empty
  std::int64_t arrived_ns = 0;
  std::int64_t future_skew_ns = 0;
  std::size_t record_bytes_max = 0;
};

// Writes {"specversion", "id", "source", "type", "time", ["correlationid"], "data"} into `out`.
// `id`: what makes the event another one; its stable 128-bit hash is the event's id.
void write_made_record(std::string& out, std::string_view id_text, std::string_view source,
                       std::string_view type, std::int64_t time_ns, std::string_view correlation_id,
                       std::string_view data);

}  // namespace ephor::host
