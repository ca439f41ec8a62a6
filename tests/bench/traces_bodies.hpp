// SPDX-License-Identifier: Apache-2.0
//
// Request bodies of the model's spans. Written with an own small protobuf writer, so that what the
// host reads was not written by any of its own code.
#pragma once

#include <cstdint>
#include <string>

#include "traces_model.hpp"

namespace ephor::bench {

enum class Encoding { protobuf, json, events };  // events: CloudEvents NDJSON

// Spans [first, first + count) of the stream of all traces, one after the other; grouped by
// service, as six exporters behind one collector send them. Trace i is spans [11 i, 11 i + 11).
std::string make_body(const TraceOptions& options, Encoding encoding, std::uint64_t first,
                      std::uint64_t count);

std::string_view path_of(Encoding encoding);
std::string_view content_type_of(Encoding encoding);

}  // namespace ephor::bench
