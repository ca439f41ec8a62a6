// SPDX-License-Identifier: Apache-2.0
//
// What OTLP metrics and logs share: attributes, resources and scopes, and where an item stands.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/fault.hpp"

namespace ephor::host {

// Nesting of one attribute's value.
inline constexpr unsigned kOtlpDepthMax = 32;

// Appends an AnyValue (its protobuf bytes) as JSON: bytes as base64, no value as null. False: it is
// damaged or too deep, `out` holds a part of it then.
bool append_any_value_json(std::string& out, std::string_view value, unsigned depth = 0);

// An AnyValue as the text of a label: texts as they are, all else as JSON.
bool any_value_text(std::string& out, std::string_view value);

struct OtlpAttribute {
  std::string key;
  std::string_view value;  // an AnyValue's protobuf bytes, in the body
};

// One KeyValue. False: damaged.
bool read_key_value(std::string_view message, OtlpAttribute& out);

// Appends {"key": value, ...}; a key that comes twice keeps its last value. False: damaged.
bool append_attributes_json(std::string& out, const std::vector<OtlpAttribute>& attributes);

// Resource and scope of what follows.
struct OtlpScope {
  std::vector<OtlpAttribute> resource;
  std::vector<OtlpAttribute> attributes;
  std::string name;
  std::string version;
  std::string service;  // service.name of the resource, if it is text
};
bool read_resource(std::string_view message, OtlpScope& scope);  // replaces the resource
bool read_scope(std::string_view message, OtlpScope& scope);     // replaces the scope

bool is_all_zero(std::string_view bytes);

}  // namespace ephor::host
