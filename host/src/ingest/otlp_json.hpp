// SPDX-License-Identifier: Apache-2.0
//
// OTLP/JSON (the JSON encoding of opentelemetry-proto: ids in hexadecimal digits, 64-bit integers
// as text or number, enums as number or name, lowerCamelCase or the original names) written as the
// protobuf that a generated serializer gives: fields in the order of their numbers, defaults left
// out. Unknown members are skipped, null is absence.
#pragma once

#include <simdjson.h>

#include <string>

#include "ingest/fault.hpp"

namespace ephor::host {

// Each appends one message. False: `fault` says why, its pointer is below `json`; `out` is then of
// no use. `json` must be no deeper than the parser's limit: they call themselves.
bool write_otlp_span(simdjson::dom::element json, std::string& out, Fault& fault);
bool write_otlp_resource(simdjson::dom::element json, std::string& out, Fault& fault);
bool write_otlp_scope(simdjson::dom::element json, std::string& out, Fault& fault);

// One AnyValue and the repeated KeyValue `field`, for the other signals.
bool write_otlp_value(simdjson::dom::element json, std::string& out, Fault& fault);
bool write_otlp_attributes(simdjson::dom::element json, std::uint32_t field, std::string_view name,
                           std::string& out, Fault& fault);

// The member under its lowerCamelCase name, else its original one; false if there is none or null.
bool otlp_member(simdjson::dom::element json, std::string_view camel, std::string_view snake,
                 simdjson::dom::element& out);

}  // namespace ephor::host
