// SPDX-License-Identifier: Apache-2.0
//
// Any event as its CloudEvents object, whatever its encoding: the host's one renderer.
#pragma once

#include <ephor/abi.h>
#include <ephor/otlp.hpp>

#include <string>
#include <string_view>

#include "event/error.hpp"

namespace ephor::host {

// Calls use(std::string_view json): the record itself if it is JSON, else a text that dies with the
// call. `source`: the interned text behind event.source. Throws HostError EPHOR_UNSUPPORTED for an
// encoding that this host does not know.
template <typename Use>
decltype(auto) with_event_json(const ephor_event& event, std::string_view source, Use&& use) {
  if (event.encoding == EPHOR_ENCODING_JSON) {
    return use(std::string_view(event.record, event.record_length));
  }
  if (event.encoding != EPHOR_ENCODING_OTLP) {
    throw HostError(EPHOR_UNSUPPORTED, "event " + std::to_string(event.sequence) +
                                           ": found encoding " + std::to_string(event.encoding) +
                                           ", expected JSON or OTLP");
  }
  std::string rendered;
  rendered.reserve(2 * std::size_t{event.record_length} + source.size() + 512);
  // Neighbours have one source, and reading what it says costs as much as the rest.
  thread_local std::string last_source;
  thread_local otlp::SourceFacts facts = otlp::facts_of({});
  if (source != last_source) {
    facts = otlp::facts_of(source);
    last_source = source;
  }
  otlp::render(rendered, event, source, facts);
  return use(std::string_view(rendered));
}

inline std::string event_json(const ephor_event& event, std::string_view source) {
  return with_event_json(event, source, [](std::string_view json) { return std::string(json); });
}

}  // namespace ephor::host
