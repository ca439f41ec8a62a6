// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_json.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include "ingest/json_text.hpp"
#include "ingest/proto_writer.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

// One field of a message: how JSON names it and how it is written.
enum class Kind : std::uint8_t {
  text,
  id,       // bytes in hexadecimal digits
  time,     // fixed64
  fixed32,  // unsigned
  count,    // uint32
  span_kind,
  status_code,
  status,
  attributes,
  events,
  links,
};
struct Field {
  std::string_view camel;
  std::string_view snake;
  std::uint32_t number;
  Kind kind;
};

// Ascending by number: so they are written.
constexpr Field kSpan[] = {
    {"traceId", "trace_id", 1, Kind::id},
    {"spanId", "span_id", 2, Kind::id},
    {"traceState", "trace_state", 3, Kind::text},
    {"parentSpanId", "parent_span_id", 4, Kind::id},
    {"name", "name", 5, Kind::text},
    {"kind", "kind", 6, Kind::span_kind},
    {"startTimeUnixNano", "start_time_unix_nano", 7, Kind::time},
    {"endTimeUnixNano", "end_time_unix_nano", 8, Kind::time},
    {"attributes", "attributes", 9, Kind::attributes},
    {"droppedAttributesCount", "dropped_attributes_count", 10, Kind::count},
    {"events", "events", 11, Kind::events},
    {"droppedEventsCount", "dropped_events_count", 12, Kind::count},
    {"links", "links", 13, Kind::links},
    {"droppedLinksCount", "dropped_links_count", 14, Kind::count},
    {"status", "status", 15, Kind::status},
    {"flags", "flags", 16, Kind::fixed32},
};
constexpr Field kEvent[] = {
    {"timeUnixNano", "time_unix_nano", 1, Kind::time},
    {"name", "name", 2, Kind::text},
    {"attributes", "attributes", 3, Kind::attributes},
    {"droppedAttributesCount", "dropped_attributes_count", 4, Kind::count},
};
constexpr Field kLink[] = {
    {"traceId", "trace_id", 1, Kind::id},
    {"spanId", "span_id", 2, Kind::id},
    {"traceState", "trace_state", 3, Kind::text},
    {"attributes", "attributes", 4, Kind::attributes},
    {"droppedAttributesCount", "dropped_attributes_count", 5, Kind::count},
    {"flags", "flags", 6, Kind::fixed32},
};
constexpr Field kStatus[] = {
    {"message", "message", 2, Kind::text},
    {"code", "code", 3, Kind::status_code},
};
constexpr Field kResource[] = {
    {"attributes", "attributes", 1, Kind::attributes},
    {"droppedAttributesCount", "dropped_attributes_count", 2, Kind::count},
};
constexpr Field kScope[] = {
    {"name", "name", 1, Kind::text},
    {"version", "version", 2, Kind::text},
    {"attributes", "attributes", 3, Kind::attributes},
    {"droppedAttributesCount", "dropped_attributes_count", 4, Kind::count},
};
constexpr std::size_t kFieldsMax = std::size(kSpan);

constexpr std::string_view kSpanKinds[] = {"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL",
                                           "SPAN_KIND_SERVER",      "SPAN_KIND_CLIENT",
                                           "SPAN_KIND_PRODUCER",    "SPAN_KIND_CONSUMER"};
constexpr std::string_view kStatusCodes[] = {"STATUS_CODE_UNSET", "STATUS_CODE_OK",
                                             "STATUS_CODE_ERROR"};

bool wrong(Fault& fault, dom::element found, std::string_view expected) {
  return refuse(fault, "", "found " + shown(found) + ", expected " + std::string(expected));
}

// An integer, an integral double, or either one's digits as text.
template <typename Integer>
bool integer_of(dom::element json, Integer& out) {
  constexpr bool is_signed = std::is_signed_v<Integer>;
  std::uint64_t wide = 0;
  std::int64_t narrow = 0;
  if (json.get(narrow) == simdjson::SUCCESS) {
    if (!is_signed && narrow < 0) return false;
    if (!is_signed && static_cast<std::uint64_t>(narrow) > std::numeric_limits<Integer>::max()) {
      return false;
    }
    out = static_cast<Integer>(narrow);
    return true;
  }
  if (json.get(wide) == simdjson::SUCCESS) {
    if (wide > static_cast<std::uint64_t>(std::numeric_limits<Integer>::max())) return false;
    out = static_cast<Integer>(wide);
    return true;
  }
  const auto from_double = [&](double value) {
    // 2^63 and 2^64 are no longer in the range; neither is what has a fraction.
    const double limit = std::ldexp(1.0, std::numeric_limits<Integer>::digits);
    if (!(value >= (is_signed ? -limit : 0.0)) || value >= limit || std::trunc(value) != value) {
      return false;
    }
    out = static_cast<Integer>(value);
    return true;
  };
  if (json.is_double()) return from_double(json.get_double().value_unsafe());
  std::string_view digits;
  if (json.get(digits) != simdjson::SUCCESS || digits.empty()) return false;
  const char* const end = digits.data() + digits.size();
  const auto whole = std::from_chars(digits.data(), end, out);
  if (whole.ec == std::errc() && whole.ptr == end) return true;
  double value = 0.0;
  const auto number = std::from_chars(digits.data(), end, value);
  return number.ec == std::errc() && number.ptr == end && from_double(value);
}

bool double_of(dom::element json, double& out) {
  if (json.get(out) == simdjson::SUCCESS) return true;
  std::string_view text;
  if (json.get(text) != simdjson::SUCCESS) return false;
  if (text == "NaN") {
    out = std::numeric_limits<double>::quiet_NaN();
  } else if (text == "Infinity") {
    out = std::numeric_limits<double>::infinity();
  } else if (text == "-Infinity") {
    out = -std::numeric_limits<double>::infinity();
  } else {
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, out);
    return read.ec == std::errc() && read.ptr == end;
  }
  return true;
}

constexpr std::array<std::int8_t, 256> hex_table() {
  std::array<std::int8_t, 256> out{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int c = static_cast<int>(i);
    const bool is_digit = c >= '0' && c <= '9';
    const bool is_lower = c >= 'a' && c <= 'f';
    const bool is_upper = c >= 'A' && c <= 'F';
    const int digit = is_digit ? c - '0' : is_lower ? c - 'a' + 10 : is_upper ? c - 'A' + 10 : -1;
    out[i] = static_cast<std::int8_t>(digit);
  }
  return out;
}
constexpr auto kHexTable = hex_table();
int hex_digit(char c) { return kHexTable[static_cast<unsigned char>(c)]; }

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Standard or URL-safe alphabet, with padding or without, as protobuf's JSON takes it.
bool append_base64(std::string& out, std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return false;
  std::uint32_t word = 0;
  int bits = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return false;
    word = word << 6 | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out += static_cast<char>(word >> bits & 0xFF);
  }
  return true;
}

bool write_message(std::span<const Field> fields, dom::element json, std::string& out,
                   Fault& fault);
bool write_value(dom::element json, std::string& out, Fault& fault);

// The elements of a list, each a message in `field`; null is no list.
template <typename Write>
bool write_list(dom::element json, std::uint32_t field, std::string_view name, std::string& out,
                Fault& fault, Write&& write) {
  dom::array list;
  if (json.get(list) != simdjson::SUCCESS) {
    wrong(fault, json, "an array");
    return below(fault, name);
  }
  ProtoWriter to(out);
  std::uint32_t index = 0;
  for (const dom::element one : list) {
    const std::size_t began = to.begin(field);
    if (!write(one)) return below(fault, name, index);
    to.end(began);
    ++index;
  }
  return true;
}

bool write_key_value(dom::element json, std::string& out, Fault& fault) {
  dom::object object;
  if (json.get(object) != simdjson::SUCCESS) return wrong(fault, json, "an object");
  ProtoWriter to(out);
  std::string_view key;
  std::optional<dom::element> value;
  for (const auto& [name, member] : object) {
    if (member.is_null()) continue;
    if (name == "key") {
      if (member.get(key) != simdjson::SUCCESS) {
        wrong(fault, member, "text");
        return below(fault, "key");
      }
    } else if (name == "value") {
      value = member;
    }
  }
  if (!key.empty()) to.bytes(1, key);
  if (!value) return true;
  const std::size_t began = to.begin(2);
  if (!write_value(*value, out, fault)) return below(fault, "value");
  to.end(began);
  return true;
}

bool write_key_values(dom::element json, std::uint32_t field, std::string_view name,
                      std::string& out, Fault& fault) {
  return write_list(json, field, name, out, fault,
                    [&](dom::element one) { return write_key_value(one, out, fault); });
}

// The list in the member "values" of an ArrayValue or a KeyValueList.
template <typename Write>
bool write_values(dom::element json, std::uint32_t field, std::string_view name, std::string& out,
                  Fault& fault, Write&& write) {
  if (!json.is_object()) {
    wrong(fault, json, "an object");
    return below(fault, name);
  }
  ProtoWriter to(out);
  const std::size_t began = to.begin(field);
  dom::element values;
  if (otlp_member(json, "values", "values", values) &&
      !write_list(values, 1, "values", out, fault, write)) {
    return below(fault, name);
  }
  to.end(began);
  return true;
}

bool write_bytes_value(dom::element json, std::string& out, Fault& fault) {
  ProtoWriter to(out);
  const std::size_t began = to.begin(7);
  std::string_view text;
  if (json.get(text) != simdjson::SUCCESS || !append_base64(out, text)) {
    wrong(fault, json, "base64");
    return below(fault, "bytesValue");
  }
  to.end(began);
  return true;
}

bool write_value(dom::element json, std::string& out, Fault& fault) {
  if (json.is_null()) return true;
  dom::object object;
  if (json.get(object) != simdjson::SUCCESS) return wrong(fault, json, "an AnyValue object");
  ProtoWriter to(out);
  for (const auto& [name, member] : object) {
    if (member.is_null()) continue;
    const auto is = [&, key = name](std::string_view camel, std::string_view snake) {
      return key == camel || key == snake;
    };
    if (is("stringValue", "string_value")) {
      std::string_view text;
      if (member.get(text) != simdjson::SUCCESS) {
        wrong(fault, member, "text");
        return below(fault, "stringValue");
      }
      to.bytes(1, text);
    } else if (is("boolValue", "bool_value")) {
      bool value = false;
      if (member.get(value) != simdjson::SUCCESS) {
        wrong(fault, member, "true or false");
        return below(fault, "boolValue");
      }
      to.varint(2, value ? 1 : 0);
    } else if (is("intValue", "int_value")) {
      std::int64_t value = 0;
      if (!integer_of(member, value)) {
        wrong(fault, member, "an integer of 64 bits, or its digits as text");
        return below(fault, "intValue");
      }
      to.varint(3, static_cast<std::uint64_t>(value));
    } else if (is("doubleValue", "double_value")) {
      double value = 0.0;
      if (!double_of(member, value)) {
        wrong(fault, member, "a number");
        return below(fault, "doubleValue");
      }
      to.fixed64(4, std::bit_cast<std::uint64_t>(value));
    } else if (is("arrayValue", "array_value")) {
      const auto write = [&](dom::element one) { return write_value(one, out, fault); };
      if (!write_values(member, 5, "arrayValue", out, fault, write)) return false;
    } else if (is("kvlistValue", "kvlist_value")) {
      const auto write = [&](dom::element one) { return write_key_value(one, out, fault); };
      if (!write_values(member, 6, "kvlistValue", out, fault, write)) return false;
    } else if (is("bytesValue", "bytes_value")) {
      if (!write_bytes_value(member, out, fault)) return false;
    } else {
      continue;
    }
    return true;  // it is one of them
  }
  return true;
}

bool write_id(const Field& field, dom::element json, std::string& out, Fault& fault) {
  std::string_view digits;
  bool is_good = json.get(digits) == simdjson::SUCCESS && digits.size() % 2 == 0;
  if (is_good && digits.empty()) return true;
  ProtoWriter to(out);
  const std::size_t began = to.begin(field.number);
  if (is_good) out.resize(began + digits.size() / 2);
  char* at = out.data() + began;
  for (std::size_t i = 0; is_good && i < digits.size(); i += 2) {
    const int high = hex_digit(digits[i]);
    const int low = hex_digit(digits[i + 1]);
    is_good = high >= 0 && low >= 0;
    *at++ = static_cast<char>(high << 4 | low);
  }
  if (!is_good) return wrong(fault, json, "an even number of hexadecimal digits");
  to.end(began);
  return true;
}

bool write_enum(const Field& field, std::span<const std::string_view> names, dom::element json,
                std::string& out, Fault& fault) {
  std::int64_t value = 0;
  std::string_view name;
  bool is_known = json.get(value) == simdjson::SUCCESS && value >= INT32_MIN && value <= INT32_MAX;
  if (json.get(name) == simdjson::SUCCESS) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] != name) continue;
      value = static_cast<std::int64_t>(i);
      is_known = true;
    }
  }
  if (!is_known) {
    std::string expected = "a number or one of";
    for (const std::string_view one : names) (expected += ' ') += one;
    return wrong(fault, json, expected);
  }
  if (value != 0) ProtoWriter(out).varint(field.number, static_cast<std::uint64_t>(value));
  return true;
}

template <typename Integer>
bool write_integer(const Field& field, dom::element json, std::string& out, Fault& fault) {
  Integer value = 0;
  if (!integer_of(json, value)) {
    return wrong(fault, json,
                 sizeof value == 8 ? "an integer >= 0, or its digits as text"
                                   : "an integer from 0 to 4294967295, or its digits as text");
  }
  if (value == 0) return true;
  ProtoWriter to(out);
  if (field.kind == Kind::time) {
    to.fixed64(field.number, value);
  } else if (field.kind == Kind::fixed32) {
    to.fixed32(field.number, static_cast<std::uint32_t>(value));
  } else {
    to.varint(field.number, value);
  }
  return true;
}

bool write_field(const Field& field, dom::element json, std::string& out, Fault& fault) {
  const auto messages = [&](std::span<const Field> fields) {
    return write_list(json, field.number, field.camel, out, fault,
                      [&](dom::element one) { return write_message(fields, one, out, fault); });
  };
  switch (field.kind) {
    case Kind::attributes:
      return write_key_values(json, field.number, field.camel, out, fault);
    case Kind::events:
      return messages(kEvent);
    case Kind::links:
      return messages(kLink);
    default:
      break;
  }
  bool is_good = true;
  switch (field.kind) {
    case Kind::text: {
      std::string_view text;
      is_good = json.get(text) == simdjson::SUCCESS || wrong(fault, json, "text");
      if (is_good && !text.empty()) ProtoWriter(out).bytes(field.number, text);
      break;
    }
    case Kind::id:
      is_good = write_id(field, json, out, fault);
      break;
    case Kind::time:
      is_good = write_integer<std::uint64_t>(field, json, out, fault);
      break;
    case Kind::fixed32:
    case Kind::count:
      is_good = write_integer<std::uint32_t>(field, json, out, fault);
      break;
    case Kind::span_kind:
      is_good = write_enum(field, kSpanKinds, json, out, fault);
      break;
    case Kind::status_code:
      is_good = write_enum(field, kStatusCodes, json, out, fault);
      break;
    case Kind::status: {
      ProtoWriter to(out);
      const std::size_t began = to.begin(field.number);
      is_good = write_message(kStatus, json, out, fault);
      to.end(began);
      break;
    }
    default:
      break;
  }
  return is_good || below(fault, field.camel);
}

// The members may come in any order; the fields are written in theirs.
bool write_message(std::span<const Field> fields, dom::element json, std::string& out,
                   Fault& fault) {
  dom::object object;
  if (json.get(object) != simdjson::SUCCESS) return wrong(fault, json, "an object");
  std::optional<dom::element> found[kFieldsMax];
  std::size_t next = 0;  // a client writes them in the same order, mostly that of the fields
  for (const auto& [name, member] : object) {
    if (member.is_null()) continue;
    for (std::size_t tried = 0; tried < fields.size(); ++tried) {
      const std::size_t i = next;
      next = next + 1 == fields.size() ? 0 : next + 1;
      if (name == fields[i].camel || name == fields[i].snake) {
        found[i] = member;
        break;
      }
    }
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (found[i] && !write_field(fields[i], *found[i], out, fault)) return false;
  }
  return true;
}

}  // namespace

bool otlp_member(dom::element json, std::string_view camel, std::string_view snake,
                 dom::element& out) {
  if (json[camel].get(out) == simdjson::SUCCESS && !out.is_null()) return true;
  return json[snake].get(out) == simdjson::SUCCESS && !out.is_null();
}

bool write_otlp_span(dom::element json, std::string& out, Fault& fault) {
  return write_message(kSpan, json, out, fault);
}
bool write_otlp_resource(dom::element json, std::string& out, Fault& fault) {
  return write_message(kResource, json, out, fault);
}
bool write_otlp_scope(dom::element json, std::string& out, Fault& fault) {
  return write_message(kScope, json, out, fault);
}
bool write_otlp_value(dom::element json, std::string& out, Fault& fault) {
  return write_value(json, out, fault);
}
bool write_otlp_attributes(dom::element json, std::uint32_t field, std::string_view name,
                           std::string& out, Fault& fault) {
  return write_key_values(json, field, name, out, fault);
}

}  // namespace ephor::host
