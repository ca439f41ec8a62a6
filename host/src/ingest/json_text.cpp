// SPDX-License-Identifier: Apache-2.0
#include "ingest/json_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kShownBytesMax = 60;

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// `open` is at the opening quote; returns one past the closing one, or the size if it is missing.
std::size_t skip_string(std::string_view text, std::size_t open) {
  constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
  constexpr std::uint64_t kHighs = 0x8080808080808080ULL;
  std::size_t at = open + 1;
  while (at < text.size()) {
    // Eight bytes at a time up to the next quote or backslash: a byte is zero after the XOR.
    while (at + 8 <= text.size()) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + at, 8);
      const std::uint64_t quote = word ^ (kOnes * '"');
      const std::uint64_t backslash = word ^ (kOnes * '\\');
      const std::uint64_t hits =
          (((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash)) & kHighs;
      if (hits != 0) break;
      at += 8;
    }
    while (at < text.size() && text[at] != '"' && text[at] != '\\') ++at;
    if (at >= text.size()) break;
    if (text[at] == '"') return at + 1;
    at += 2;
  }
  return text.size();
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  const auto code = static_cast<unsigned char>(c);
  out += "\\u00";
  out += kHex[code >> 4];
  out += kHex[code & 15];
}

bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

template <typename Integer>
void append_integer(std::string& out, Integer value) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

// A key written with escapes ("d\u0061ta") is data all the same.
bool is_data_key(std::string_view quoted) {
  if (quoted == "\"data\"") return true;
  if (quoted.find('\\') == std::string_view::npos) return false;
  dom::parser parser;
  std::string array = "[" + std::string(quoted) + "]";
  std::string_view key;
  return parser.parse(array).at(0).get(key) == simdjson::SUCCESS && key == "data";
}

}  // namespace

std::size_t skip_blanks(std::string_view text, std::size_t from) {
  while (from < text.size() && is_blank(text[from])) ++from;
  return from;
}

std::optional<std::size_t> end_of_value(std::string_view text, std::size_t from) {
  std::size_t depth = 0;
  for (std::size_t at = from; at < text.size();) {
    switch (text[at]) {
      case '"': {
        const std::size_t end = skip_string(text, at);
        if (text[end - 1] != '"' || end - at < 2) return std::nullopt;
        at = end;
        if (depth == 0) return at;
        break;
      }
      case '{':
      case '[':
        ++depth;
        ++at;
        break;
      case '}':
      case ']':
        if (depth == 0) return at;
        ++at;
        if (--depth == 0) return at;
        break;
      case ',':
        if (depth == 0) return at;
        ++at;
        break;
      default:
        if (depth == 0 && is_blank(text[at])) return at;
        ++at;
    }
  }
  if (depth == 0) return text.size();
  return std::nullopt;
}

std::size_t data_offset_of(std::string_view object) {
  std::size_t at = skip_blanks(object, 0) + 1;
  while (true) {
    at = skip_blanks(object, at);
    if (at >= object.size() || object[at] != '"') return object.size();
    const std::size_t key_end = skip_string(object, at);
    const std::string_view key = object.substr(at, key_end - at);
    at = skip_blanks(object, key_end);
    at = skip_blanks(object, at + 1);  // behind the colon
    if (at >= object.size() || is_data_key(key)) return std::min(at, object.size());
    const auto value_end =
        object[at] == '"' ? std::optional(skip_string(object, at)) : end_of_value(object, at);
    if (!value_end) return object.size();
    at = skip_blanks(object, *value_end) + 1;  // behind the comma
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!needs_escape(text[at])) continue;
    out.append(text, from, at - from);
    append_escaped(out, text[at]);
    from = at + 1;
  }
  out.append(text, from);
  out += '"';
}

void append_json_double(std::string& out, double value) {
  std::array<char, 40> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void append_json(std::string& out, dom::element value) {
  switch (value.type()) {
    case dom::element_type::OBJECT: {
      char separator = '{';
      for (const auto [key, member] : dom::object(value)) {
        out += separator;
        append_json_string(out, key);
        out += ':';
        append_json(out, member);
        separator = ',';
      }
      out += separator == '{' ? "{}" : "}";
      return;
    }
    case dom::element_type::ARRAY: {
      char separator = '[';
      for (const dom::element item : dom::array(value)) {
        out += separator;
        append_json(out, item);
        separator = ',';
      }
      out += separator == '[' ? "[]" : "]";
      return;
    }
    case dom::element_type::INT64:
      return append_integer(out, std::int64_t(value));
    case dom::element_type::UINT64:
      return append_integer(out, std::uint64_t(value));
    case dom::element_type::DOUBLE:
      return append_json_double(out, double(value));
    case dom::element_type::STRING:
      return append_json_string(out, std::string_view(value));
    case dom::element_type::BOOL:
      out += bool(value) ? "true" : "false";
      return;
    case dom::element_type::NULL_VALUE:
      out += "null";
      return;
  }
}

void append_pointer_token(std::string& pointer, std::string_view token) {
  pointer += '/';
  for (const char c : token) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
}

std::string shown(std::string_view text) {
  const bool is_cut = text.size() > kShownBytesMax;
  std::string_view head = text.substr(0, kShownBytesMax);
  // Never cut inside a UTF-8 sequence.
  while (is_cut && !head.empty() &&
         (static_cast<unsigned char>(text[head.size()]) & 0xC0) == 0x80) {
    head.remove_suffix(1);
  }
  std::string out;
  if (simdjson::validate_utf8(head)) {
    append_json_string(out, head);
  } else {  // a message is UTF-8, whatever it speaks of
    std::string readable;
    for (const char c : head) {
      if (static_cast<unsigned char>(c) < 0x80) {
        readable += c;
      } else {
        readable += "\xEF\xBF\xBD";
      }
    }
    append_json_string(out, readable);
  }
  if (is_cut) out += "... (" + std::to_string(text.size()) + " bytes)";
  return out;
}

std::string shown(dom::element value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_string()) return shown(std::string_view(value));
  std::string out;
  append_json(out, value);
  return out;
}

}  // namespace ephor::host
