// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_values.hpp"

#include <algorithm>
#include <cmath>
#include <ephor/protobuf.hpp>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

void append_base64(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8U | (i < count ? static_cast<std::uint8_t>(bytes[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= count ? kDigits[bits >> (18 - 6 * i) & 63U] : '=';
    }
  }
}

void append_number(std::string& out, double number) {
  if (std::isfinite(number)) return append_json_double(out, number);
  out += std::isnan(number) ? "\"NaN\"" : number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
}

// The values of an ArrayValue, or the pairs of a KeyValueList.
bool append_list(std::string& out, std::string_view message, unsigned depth) {
  out += '[';
  ProtoReader in(message);
  while (in.next()) {
    if (!in.is(1, WireType::bytes)) continue;
    if (!append_any_value_json(out, in.bytes(), depth)) return false;
    out += ',';
  }
  if (out.back() == ',') out.pop_back();
  out += ']';
  return in.ok();
}

bool append_map(std::string& out, std::string_view message, unsigned depth) {
  std::vector<OtlpAttribute> pairs;
  ProtoReader in(message);
  while (in.next()) {
    if (!in.is(1, WireType::bytes)) continue;
    if (!read_key_value(in.bytes(), pairs.emplace_back())) return false;
  }
  if (!in.ok()) return false;
  out += '{';
  for (const OtlpAttribute& pair : pairs) {
    append_json_string(out, pair.key);
    out += ':';
    if (!append_any_value_json(out, pair.value, depth)) return false;
    out += ',';
  }
  if (out.back() == ',') out.pop_back();
  out += '}';
  return true;
}

}  // namespace

bool append_any_value_json(std::string& out, std::string_view value, unsigned depth) {
  if (depth > kOtlpDepthMax) return false;
  ProtoReader in(value);
  const std::size_t start = out.size();
  bool is_good = true;
  while (in.next()) {
    const std::uint32_t field = in.field();
    if (field < 1 || field > 7) continue;
    out.resize(start);  // of a oneof the last one counts
    if (in.is(1, WireType::bytes)) {
      append_json_string(out, in.bytes());
    } else if (in.is(2, WireType::varint)) {
      out += in.varint() != 0 ? "true" : "false";
    } else if (in.is(3, WireType::varint)) {
      out += std::to_string(static_cast<std::int64_t>(in.varint()));
    } else if (in.is(4, WireType::fixed64)) {
      append_number(out, in.number());
    } else if (in.is(5, WireType::bytes)) {
      is_good = append_list(out, in.bytes(), depth + 1);
    } else if (in.is(6, WireType::bytes)) {
      is_good = append_map(out, in.bytes(), depth + 1);
    } else if (in.is(7, WireType::bytes)) {
      out += '"';
      append_base64(out, in.bytes());
      out += '"';
    }
    if (!is_good) return false;
  }
  if (out.size() == start) out += "null";
  return in.ok();
}

bool any_value_text(std::string& out, std::string_view value) {
  out.clear();
  ProtoReader in(value);
  if (in.next() && in.is(1, WireType::bytes) && in.offset() == value.size()) {
    out = in.bytes();
    return true;
  }
  if (!append_any_value_json(out, value)) return false;
  // Bytes and numbers that are none are JSON texts without escapes.
  if (out.front() == '"' && out.back() == '"') out = out.substr(1, out.size() - 2);
  return true;
}

bool read_key_value(std::string_view message, OtlpAttribute& out) {
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(1, WireType::bytes)) out.key = in.bytes();
    if (in.is(2, WireType::bytes)) out.value = in.bytes();
  }
  return in.ok();
}

bool append_attributes_json(std::string& out, const std::vector<OtlpAttribute>& attributes) {
  out += '{';
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    const bool comes_again =
        std::any_of(attributes.begin() + static_cast<std::ptrdiff_t>(i) + 1, attributes.end(),
                    [&](const OtlpAttribute& other) { return other.key == attributes[i].key; });
    if (comes_again) continue;
    append_json_string(out, attributes[i].key);
    out += ':';
    if (!append_any_value_json(out, attributes[i].value)) return false;
    out += ',';
  }
  if (out.back() == ',') out.pop_back();
  out += '}';
  return true;
}

bool read_resource(std::string_view message, OtlpScope& scope) {
  scope.resource.clear();
  scope.service.clear();
  ProtoReader in(message);
  while (in.next()) {
    if (!in.is(1, WireType::bytes)) continue;
    OtlpAttribute& attribute = scope.resource.emplace_back();
    if (!read_key_value(in.bytes(), attribute)) return false;
    if (attribute.key == "service.name" && !any_value_text(scope.service, attribute.value)) {
      return false;
    }
  }
  return in.ok();
}

bool read_scope(std::string_view message, OtlpScope& scope) {
  scope.name.clear();
  scope.version.clear();
  scope.attributes.clear();
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(1, WireType::bytes)) scope.name = in.bytes();
    if (in.is(2, WireType::bytes)) scope.version = in.bytes();
    if (in.is(3, WireType::bytes) && !read_key_value(in.bytes(), scope.attributes.emplace_back())) {
      return false;
    }
  }
  return in.ok();
}

bool is_all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace ephor::host
