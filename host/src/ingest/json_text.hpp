// SPDX-License-Identifier: Apache-2.0
//
// JSON as text: where things are in it, and how to write it. Nothing here builds a tree.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ephor::host {

// Byte offset of the value of the top-level member "data"; the text's size if there is none.
// `object` must be one valid JSON object; the scan stops at the member.
std::size_t data_offset_of(std::string_view object);

// One past the last byte of the JSON value that starts at `from` (no blank there). Brackets and
// quotes are matched, nothing else is checked. Empty if the text ends inside the value.
std::optional<std::size_t> end_of_value(std::string_view text, std::size_t from);

// The first position from `from` on that is no JSON white space; the text's size if none.
std::size_t skip_blanks(std::string_view text, std::size_t from);

// Appends `text` with quotes and escapes. `text` must be valid UTF-8.
void append_json_string(std::string& out, std::string_view text);

// Appends the shortest decimal that reads back as the same double, always with a point or exponent.
void append_json_double(std::string& out, double value);

// Appends a parsed value as compact JSON. Numbers keep their value exactly.
void append_json(std::string& out, simdjson::dom::element value);

// "/" and the RFC 6901 escape of `token`, appended.
void append_pointer_token(std::string& pointer, std::string_view token);

// A value as a message shows it: short, control characters made visible, "an object" for objects.
// Text that is no UTF-8 is shown with U+FFFD for each of its bytes beyond ASCII.
std::string shown(simdjson::dom::element value);
std::string shown(std::string_view text);

}  // namespace ephor::host
