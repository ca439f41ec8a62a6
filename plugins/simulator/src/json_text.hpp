// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ephor::simulator {

// Appends one JSON object, member by member; the constructor opens it, close() ends it. Numbers are
// rounded to `digits` and written in the shortest form: the same bytes on every platform.
class ObjectText {
 public:
  explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }
  void close() { out_ += '}'; }

  ObjectText& text(std::string_view name, std::string_view value);
  ObjectText& number(std::string_view name, double value, int digits);
  ObjectText& integer(std::string_view name, std::int64_t value);
  ObjectText& null(std::string_view name);
  ObjectText& raw(std::string_view name, std::string_view json);
  // Writes the name; the caller appends one JSON value to what is returned.
  std::string& member(std::string_view name);

 private:
  std::string& out_;
  bool is_first_ = true;
};

void append_quoted(std::string& out, std::string_view text);
void append_number(std::string& out, double value, int digits);
// RFC 3339, UTC, nine digits of a second.
std::string time_text(std::int64_t time_ns);
// "2025-01-01T00:00:00Z" and nothing else. Throws ephor::Error.
std::int64_t parse_time_text(std::string_view text);

}  // namespace ephor::simulator
