// SPDX-License-Identifier: Apache-2.0
//
// nlohmann::json helpers for cold paths: configuration, requests, answers. Never on a hot path
// (17 times slower than <ephor/events.hpp>). The plugin brings its own nlohmann/json 3.11 or later.
#pragma once

#include <ephor/plugin.hpp>
#include <ephor/times.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ephor {

using Json = nlohmann::json;

// How deep a JSON text is nested; what stands in strings does not count. O(size), no allocation.
inline int json_depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char character = text[i];
    if (in_string) {
      if (character == '\\') ++i;
      if (character == '"') in_string = false;
    } else if (character == '"') {
      in_string = true;
    } else if (character == '{' || character == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (character == '}' || character == ']') {
      --depth;
    }
  }
  return deepest;
}

// Copying and writing a Json recurses: deeper ones could end the process for want of stack.
inline constexpr int kJsonDepthMax = 256;

// Parses a configuration or request of at most kJsonDepthMax levels. Throws Error(EPHOR_INVALID)
// with the parser's position.
inline Json parse_json(std::string_view text, std::string_view what) {
  if (json_depth(text) > kJsonDepthMax) {
    throw Error(EPHOR_INVALID, std::string(what) + ": found more than " +
                                   std::to_string(kJsonDepthMax) + " levels, expected fewer");
  }
  try {
    return Json::parse(text.empty() ? std::string_view("{}") : text);
  } catch (const Json::parse_error& failure) {
    throw Error(EPHOR_INVALID, std::string(what) + ": " + failure.what());
  }
}

// A member of an object, or `fallback` if absent or null. Throws Error with the member's pointer if
// it has another type.
template <typename Value>
Value member_or(const Json& object, std::string_view name, Value fallback) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return fallback;
  try {
    return found->get<Value>();
  } catch (const Json::exception&) {
    throw Error(EPHOR_INVALID,
                std::string(name) + ": found " + found->dump() + ", expected another type",
                "/" + std::string(name));
  }
}

// A whole number from a request, where path and query-string parameters arrive as strings. Throws
// Error with its pointer unless it is in [least, most].
inline std::int64_t request_integer(const Json& request, std::string_view name,
                                    std::int64_t fallback, std::int64_t least, std::int64_t most) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return fallback;
  std::int64_t value = 0;
  bool is_good = false;
  if (found->is_number_integer()) {
    value = found->get<std::int64_t>();
    is_good = true;
  } else if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    is_good = error == std::errc() && end == text.data() + text.size();
  }
  if (is_good && value >= least && value <= most) return value;
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found " + found->dump() + ", expected an integer from " +
                  std::to_string(least) + " to " + std::to_string(most),
              "/" + std::string(name));
}

inline std::string request_text(const Json& request, std::string_view name,
                                std::string fallback = {}) {
  return member_or<std::string>(request, name, std::move(fallback));
}

// Null instead of a value that JSON cannot hold.
inline Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }
inline Json number_or_null(const std::optional<double>& value) {
  return value ? number_or_null(*value) : Json();
}

// Null instead of an empty text or a time that is not known.
inline Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }
inline Json time_or_null(const std::optional<std::int64_t>& time_ns) {
  return time_ns ? Json(format_time(*time_ns)) : Json();
}
// The value that `text` is the JSON of: null if it is empty, discarded if it is no JSON.
inline Json json_or_null(const std::string& text) {
  return text.empty() ? Json() : Json::parse(text, nullptr, false);
}

// Whole text of a value, invalid UTF-8 replaced rather than thrown at.
inline std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ephor
