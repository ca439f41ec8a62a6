// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ephor::host {

struct SchemaError {
  std::string pointer;  // RFC 6901, below the value given
  std::string message;  // what was found, what was expected
};

// Checks `value` against the part of JSON Schema 2020-12 that configurations use (type, enum,
// const, properties, required, additionalProperties, items, minItems, maxItems, minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern) and fills in defaults.
// Other keywords are annotations. Adds every failure to `errors`; names near misses of unknown
// keys. Own code rather than a library: none in Debian fills defaults or says "found, expected".
void apply_schema(const nlohmann::json& schema, nlohmann::json& value, const std::string& pointer,
                  std::vector<SchemaError>& errors);

}  // namespace ephor::host
