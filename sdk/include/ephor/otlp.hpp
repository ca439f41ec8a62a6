// SPDX-License-Identifier: Apache-2.0
//
// One OTLP span as the log holds it (EPHOR_ENCODING_OTLP): the bytes of an
// opentelemetry.proto.trace.v1.Span, read in place, and its CloudEvents object. Field numbers are
// those of the public specification (opentelemetry-proto 1.x). Nothing here trusts the bytes: what
// is damaged reads as absent. Plugins use EventReader::span of <ephor/events.hpp> instead.
#pragma once

#include <ephor/abi.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <ephor/json_value.hpp>
#include <ephor/plugin.hpp>
#include <ephor/protobuf.hpp>
#include <ephor/times.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace ephor::otlp {

// How deep values may nest in each other; deeper ones are shown as null.
inline constexpr int kValueDepthMax = 64;
inline constexpr std::size_t kIdBytesMax = 256;
inline constexpr std::string_view kUnknownService = "unknown_service";

// opentelemetry.proto.common.v1.AnyValue.
struct Value {
  enum class Kind : std::uint8_t { none, text, boolean, integer, number, array, map, bytes };
  Kind kind = Kind::none;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0.0;
  std::string_view text;  // text, bytes; of array and map the message
};

// O(length of the message).
inline Value value_of(std::string_view message) {
  Value out;
  ProtoReader in(message);
  while (in.next()) {
    const WireType type = in.type();
    switch (in.field()) {
      case 1:
        if (type == WireType::bytes) out = {Value::Kind::text, false, 0, 0.0, in.bytes()};
        break;
      case 2:
        if (type == WireType::varint) out = {Value::Kind::boolean, in.varint() != 0, 0, 0.0, {}};
        break;
      case 3:
        if (type == WireType::varint) {
          out = {Value::Kind::integer, false, static_cast<std::int64_t>(in.varint()), 0.0, {}};
        }
        break;
      case 4:
        if (type == WireType::fixed64) out = {Value::Kind::number, false, 0, in.number(), {}};
        break;
      case 5:
        if (type == WireType::bytes) out = {Value::Kind::array, false, 0, 0.0, in.bytes()};
        break;
      case 6:
        if (type == WireType::bytes) out = {Value::Kind::map, false, 0, 0.0, in.bytes()};
        break;
      case 7:
        if (type == WireType::bytes) out = {Value::Kind::bytes, false, 0, 0.0, in.bytes()};
        break;
      default:
        break;
    }
  }
  return out;
}

struct KeyValue {
  std::string_view key;
  std::string_view value;  // the AnyValue message
};
inline KeyValue key_value_of(std::string_view message) {
  KeyValue out;
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(1, WireType::bytes)) out.key = in.bytes();
    if (in.is(2, WireType::bytes)) out.value = in.bytes();
  }
  return out;
}

// The messages in the repeated field `field`, in order.
template <typename Visit>
void for_each_message(std::string_view message, std::uint32_t field, Visit&& visit) {
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(field, WireType::bytes)) visit(in.bytes());
  }
}
// visit(key, Value) for the KeyValues in `field` of `message`.
template <typename Visit>
void for_each_attribute(std::string_view message, std::uint32_t field, Visit&& visit) {
  for_each_message(message, field, [&](std::string_view one) {
    const KeyValue found = key_value_of(one);
    visit(found.key, value_of(found.value));
  });
}

inline constexpr std::uint32_t kSpanAttributes = 9;
inline constexpr std::uint32_t kSpanEvents = 11;
inline constexpr std::uint32_t kSpanLinks = 13;
inline constexpr std::uint32_t kEventAttributes = 3;
inline constexpr std::uint32_t kLinkAttributes = 4;

struct Span {
  std::string_view record;
  std::string_view trace_id;  // 16 bytes
  std::string_view span_id;   // 8 bytes
  std::string_view parent_span_id;
  std::string_view trace_state;
  std::string_view name;
  std::string_view status_message;
  std::uint64_t kind = 0;
  std::uint64_t status = 0;  // 0 unset, 1 ok, 2 error
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;
  std::uint32_t flags = 0;
  std::uint64_t dropped_attributes = 0;
  std::uint64_t dropped_events = 0;
  std::uint64_t dropped_links = 0;
};

inline bool is_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// The members but attributes, events and links. False if the bytes are damaged; what stands before
// the damage is read.
inline bool read(std::string_view record, Span& out) {
  out = {};
  out.record = record;
  ProtoReader in(record);
  bool is_good = true;
  while (in.next()) {
    if (in.type() == WireType::bytes) {
      switch (in.field()) {
        case 1:
          out.trace_id = in.bytes();
          break;
        case 2:
          out.span_id = in.bytes();
          break;
        case 3:
          out.trace_state = in.bytes();
          break;
        case 4:
          out.parent_span_id = is_zero(in.bytes()) ? std::string_view() : in.bytes();
          break;
        case 5:
          out.name = in.bytes();
          break;
        case 15: {
          ProtoReader status(in.bytes());
          while (status.next()) {
            if (status.is(2, WireType::bytes)) out.status_message = status.bytes();
            if (status.is(3, WireType::varint)) out.status = status.varint();
          }
          is_good = is_good && status.ok();
          break;
        }
        default:
          break;
      }
    } else if (in.is(6, WireType::varint)) {
      out.kind = in.varint();
    } else if (in.is(7, WireType::fixed64)) {
      out.start_ns = in.fixed64();
    } else if (in.is(8, WireType::fixed64)) {
      out.end_ns = in.fixed64();
    } else if (in.is(10, WireType::varint)) {
      out.dropped_attributes = in.varint() & UINT32_MAX;
    } else if (in.is(12, WireType::varint)) {
      out.dropped_events = in.varint() & UINT32_MAX;
    } else if (in.is(14, WireType::varint)) {
      out.dropped_links = in.varint() & UINT32_MAX;
    } else if (in.is(16, WireType::fixed32)) {
      out.flags = in.fixed32();
    }
  }
  return is_good && in.ok();
}

// "" for unspecified; a number that has no name yet as its digits.
inline std::string_view kind_name(std::uint64_t kind) {
  constexpr std::string_view kNames[] = {"",       "internal", "server",
                                         "client", "producer", "consumer"};
  return kind < std::size(kNames) ? kNames[kind] : "other";
}
inline std::string_view status_name(std::uint64_t status) {
  return status == 1 ? "ok" : status == 2 ? "error" : "unset";
}

inline bool has_control_character(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return true;
  }
  return false;
}
inline bool is_id(std::string_view text) {
  return !text.empty() && text.size() <= kIdBytesMax && !has_control_character(text);
}

// The id in a value: a text of 1 to 256 bytes without control characters, or an integer's digits,
// for which `digits` must live on. Empty: it is no id.
struct Digits {
  std::array<char, 24> text{};
};
inline std::string_view id_of(const Value& value, Digits& digits) {
  if (value.kind == Value::Kind::text) return is_id(value.text) ? value.text : std::string_view();
  if (value.kind != Value::Kind::integer) return {};
  char* const begin = digits.text.data();
  const auto end = std::to_chars(begin, begin + digits.text.size(), value.integer).ptr;
  return {begin, static_cast<std::size_t>(end - begin)};
}

// What a span says of itself in its attributes.
struct OwnIds {
  std::string_view correlation_id;
  std::string_view component;
};
inline OwnIds own_ids(std::string_view record, Digits& digits) {
  OwnIds out;
  bool is_dotted = false;
  for_each_message(record, kSpanAttributes, [&](std::string_view message) {
    const KeyValue found = key_value_of(message);
    const bool is_dot = found.key == "correlation.id";
    if (is_dot || found.key == "correlation_id") {
      if (is_dotted || (!is_dot && !out.correlation_id.empty())) return;
      Digits here;
      const std::string_view id = id_of(value_of(found.value), here);
      if (id.empty()) return;
      is_dotted = is_dot;
      if (id.data() == here.text.data()) {
        digits = here;
        out.correlation_id = {digits.text.data(), id.size()};
      } else {
        out.correlation_id = id;
      }
    } else if (found.key == "component" && out.component.empty()) {
      const Value value = value_of(found.value);
      if (value.kind == Value::Kind::text && is_id(value.text)) out.component = value.text;
    }
  });
  return out;
}

// What an interned source says: {"resource":{attributes},"scope":{...}} of OTLP, or the source of
// a CloudEvents object.
struct SourceFacts {
  std::string service;         // service.name, or the source itself; never empty
  std::string correlation_id;  // of the resource; empty if it has none
  // The source of the span's CloudEvents object: the service, but not below "ephor", which is the
  // host's own.
  std::string event_source;
};
inline constexpr std::string_view kSourceStart = R"({"resource":{)";

inline bool is_otlp_source(std::string_view source) { return source.starts_with(kSourceStart); }

inline std::string event_source_of(std::string_view service) {
  if (!is_id(service)) return std::string(kUnknownService);
  if (service != "ephor" && !service.starts_with("ephor/")) return std::string(service);
  return "service/" + std::string(service.substr(0, kIdBytesMax - 8));
}

// Parses: keep the answer by the event's source number. Throws nothing but for lack of memory.
inline SourceFacts facts_of(std::string_view source) {
  SourceFacts out;
  if (is_otlp_source(source)) {
    try {
      const JsonValue parsed = parse_json_value(source);
      if (const JsonValue* resource = parsed.find("resource")) {
        const auto id = [&](std::string_view name) -> std::string {
          const JsonValue* found = resource->find(name);
          if (found == nullptr) return {};
          const std::string text = found->is_string() ? found->text
                                   : found->integer() ? std::string(found->raw)
                                                      : std::string();
          return is_id(text) ? text : std::string();
        };
        out.service = resource->text_of("service.name");
        out.correlation_id = id("correlation.id");
        if (out.correlation_id.empty()) out.correlation_id = id("correlation_id");
      }
    } catch (const Error&) {
      out = {};  // not what the door writes
    }
  } else {
    out.service = source;
  }
  if (!is_id(out.service)) out.service = kUnknownService;
  out.event_source = event_source_of(out.service);
  return out;
}

// ---- JSON ------------------------------------------------------------------------------------

// With U+FFFD for each byte that is no UTF-8.
inline void append_text(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += '"';
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\') {
      ++at;
      continue;
    }
    const std::size_t size = byte < 0x80 ? 1 : ephor::detail::character_size(text.substr(at));
    if (byte >= 0x80 && size > 0) {
      at += size;
      continue;
    }
    out.append(text, done, at - done);
    if (byte >= 0x80) {
      out += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
    done = ++at;
  }
  out.append(text, done);
  out += '"';
}

// Always with a point or an exponent, so that it stays a number that is no integer; what JSON has
// no number for as the texts of protobuf's JSON.
inline void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
    return;
  }
  if (std::isinf(value)) {
    out += value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return;
  }
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  const std::string_view digits(text, static_cast<std::size_t>(end - text));
  out += digits;
  if (digits.find_first_of(".e") == std::string_view::npos) out += ".0";
}

template <typename Integer>
void append_integer(std::string& out, Integer value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

inline void append_base64(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t left = bytes.size() - at;
    const auto byte = [&](std::size_t i) -> std::uint32_t {
      return i < left ? static_cast<unsigned char>(bytes[at + i]) : 0U;
    };
    const std::uint32_t word = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += kDigits[word >> 18];
    out += kDigits[word >> 12 & 63];
    out += left > 1 ? kDigits[word >> 6 & 63] : '=';
    out += left > 2 ? kDigits[word & 63] : '=';
  }
}

inline void append_hex(std::string& out, std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
}

// Which keys were there already; a few are looked through, many are hashed.
class KeySet {
 public:
  // False if it is known.
  bool insert(std::string_view key) {
    constexpr std::size_t kFew = 32;
    if (few_.size() < kFew) {
      for (const std::string_view known : few_) {
        if (known == key) return false;
      }
      few_.push_back(key);
      return true;
    }
    if (many_.empty()) many_.insert(few_.begin(), few_.end());
    return many_.insert(key).second;
  }
  bool empty() const { return few_.empty(); }

 private:
  std::vector<std::string_view> few_;
  std::unordered_set<std::string_view> many_;
};

inline void append_attributes(std::string& out, std::string_view message, std::uint32_t field,
                              int depth = 0);

// Texts, booleans, numbers, arrays and maps as JSON has them; bytes as {"bytesValue": base64}.
inline void append_value(std::string& out, const Value& value, int depth = 0) {
  switch (value.kind) {
    case Value::Kind::none:
      out += "null";
      break;
    case Value::Kind::text:
      append_text(out, value.text);
      break;
    case Value::Kind::boolean:
      out += value.boolean ? "true" : "false";
      break;
    case Value::Kind::integer:
      append_integer(out, value.integer);
      break;
    case Value::Kind::number:
      append_number(out, value.number);
      break;
    case Value::Kind::bytes:
      out += R"({"bytesValue":")";
      append_base64(out, value.text);
      out += "\"}";
      break;
    case Value::Kind::array: {
      if (depth >= kValueDepthMax) {
        out += "null";
        break;
      }
      out += '[';
      bool is_first = true;
      for_each_message(value.text, 1, [&](std::string_view element) {
        if (!is_first) out += ',';
        is_first = false;
        append_value(out, value_of(element), depth + 1);
      });
      out += ']';
      break;
    }
    case Value::Kind::map:
      if (depth >= kValueDepthMax) {
        out += "null";
      } else {
        append_attributes(out, value.text, 1, depth + 1);
      }
      break;
  }
}

// The KeyValues in `field` as one object. Of a key that stands there twice the first one counts.
inline void append_attributes(std::string& out, std::string_view message, std::uint32_t field,
                              int depth) {
  KeySet keys;
  out += '{';
  for_each_message(message, field, [&](std::string_view one) {
    const KeyValue found = key_value_of(one);
    const bool is_first = keys.empty();
    if (!keys.insert(found.key)) return;
    if (!is_first) out += ',';
    append_text(out, found.key);
    out += ':';
    append_value(out, value_of(found.value), depth);
  });
  out += '}';
}

namespace detail {

inline void append_members_of_events(std::string& out, std::string_view record) {
  bool is_first = true;
  for_each_message(record, kSpanEvents, [&](std::string_view message) {
    out += is_first ? R"(,"events":[{)" : ",{";
    is_first = false;
    std::uint64_t time_ns = 0;
    std::uint64_t dropped = 0;
    std::string_view name;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::fixed64)) time_ns = in.fixed64();
      if (in.is(2, WireType::bytes)) name = in.bytes();
      if (in.is(4, WireType::varint)) dropped = in.varint() & UINT32_MAX;
    }
    out += R"("name":)";
    append_text(out, name);
    out += R"(,"time_unix_nano":)";
    append_integer(out, time_ns);
    out += R"(,"attributes":)";
    append_attributes(out, message, kEventAttributes);
    if (dropped != 0) append_integer(out += R"(,"dropped_attributes_count":)", dropped);
    out += '}';
  });
  if (!is_first) out += ']';
}

inline void append_members_of_links(std::string& out, std::string_view record) {
  bool is_first = true;
  for_each_message(record, kSpanLinks, [&](std::string_view message) {
    out += is_first ? R"(,"links":[{)" : ",{";
    is_first = false;
    std::uint64_t dropped = 0;
    std::uint32_t flags = 0;
    std::string_view trace_id, span_id, trace_state;
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(1, WireType::bytes)) trace_id = in.bytes();
      if (in.is(2, WireType::bytes)) span_id = in.bytes();
      if (in.is(3, WireType::bytes)) trace_state = in.bytes();
      if (in.is(5, WireType::varint)) dropped = in.varint() & UINT32_MAX;
      if (in.is(6, WireType::fixed32)) flags = in.fixed32();
    }
    out += R"("trace_id":")";
    append_hex(out, trace_id);
    out += R"(","span_id":")";
    append_hex(out, span_id);
    out += '"';
    if (!trace_state.empty()) append_text(out += R"(,"trace_state":)", trace_state);
    out += R"(,"attributes":)";
    append_attributes(out, message, kLinkAttributes);
    if (dropped != 0) append_integer(out += R"(,"dropped_attributes_count":)", dropped);
    if (flags != 0) append_integer(out += R"(,"flags":)", flags);
    out += '}';
  });
  if (!is_first) out += ']';
}

}  // namespace detail

// The text of the first attribute `name` of the newest event that is called "exception".
inline std::string_view exception_text(std::string_view record, std::string_view name) {
  std::string_view out;
  for_each_message(record, kSpanEvents, [&](std::string_view message) {
    ProtoReader in(message);
    std::string_view event_name;
    while (in.next()) {
      if (in.is(2, WireType::bytes)) event_name = in.bytes();
    }
    if (event_name != "exception") return;
    for_each_attribute(message, kEventAttributes, [&](std::string_view key, const Value& value) {
      if (key == name && value.kind == Value::Kind::text) out = value.text;
    });
  });
  return out;
}

// What the span failed with: the status' message, else what its exception said.
inline std::string_view error_message_of(const Span& span) {
  if (!span.status_message.empty() || span.status != 2) return span.status_message;
  const std::string_view message = exception_text(span.record, "exception.message");
  return message.empty() ? exception_text(span.record, "exception.type") : message;
}

inline constexpr std::string_view kUnnamed = "unknown";

// The CloudEvents id of a span: the digits of trace id and span id, a dash between.
inline void append_event_id(std::string& out, std::string_view trace_id, std::string_view span_id) {
  append_hex(out, trace_id);
  out += '-';
  append_hex(out, span_id);
}

// Appends the span as one CloudEvents 1.0 object of type ephor.span: all that the span, its
// resource and its scope say, under the names of docs/events.md. `source`: the interned text behind
// event.source, `facts`: facts_of(source). The door takes it as the same facts.
inline void render(std::string& out, const ephor_event& event, std::string_view source,
                   const SourceFacts& facts) {
  Span span;
  read({event.record, event.record_length}, span);
  Digits digits;
  const OwnIds own = own_ids(span.record, digits);
  const std::string_view correlation =
      own.correlation_id.empty() ? std::string_view(facts.correlation_id) : own.correlation_id;

  out += R"({"specversion":"1.0","id":")";
  append_event_id(out, span.trace_id, span.span_id);
  out += R"(","source":)";
  append_text(out, facts.event_source);
  out += R"(,"type":"ephor.span","time":")";
  out += format_time(event.time_ns);
  out += '"';
  if (!correlation.empty()) append_text(out += R"(,"correlationid":)", correlation);
  if (span.trace_id.size() == 16 && span.span_id.size() == 8) {
    out += R"(,"traceparent":"00-)";
    append_hex(out, span.trace_id);
    out += '-';
    append_hex(out, span.span_id);
    const char flags = static_cast<char>(span.flags & 0xFFU);
    append_hex(out += '-', {&flags, 1});
    out += '"';
  }
  out += R"(,"data":{"trace_id":")";
  append_hex(out, span.trace_id);
  out += R"(","span_id":")";
  append_hex(out, span.span_id);
  out += '"';
  if (!span.parent_span_id.empty()) {
    append_hex(out += R"(,"parent_span_id":")", span.parent_span_id);
    out += '"';
  }
  append_text(out += R"(,"component":)", own.component.empty() ? facts.service : own.component);
  append_text(out += R"(,"operation":)", span.name.empty() ? kUnnamed : span.name);
  if (span.kind != 0) append_text(out += R"(,"kind":)", kind_name(span.kind));
  append_integer(out += R"(,"start_time_unix_nano":)", span.start_ns);
  append_integer(out += R"(,"end_time_unix_nano":)", span.end_ns);
  append_text(out += R"(,"status":)", status_name(span.status));
  const std::string_view message = error_message_of(span);
  if (!message.empty()) append_text(out += R"(,"error_message":)", message);
  append_attributes(out += R"(,"attributes":)", span.record, kSpanAttributes);
  detail::append_members_of_events(out, span.record);
  detail::append_members_of_links(out, span.record);
  if (!span.trace_state.empty()) append_text(out += R"(,"trace_state":)", span.trace_state);
  if (span.flags != 0) append_integer(out += R"(,"flags":)", span.flags);
  const auto count = [&](std::string_view name, std::uint64_t value) {
    if (value == 0) return;
    append_text(out += ',', name);
    append_integer(out += ':', value);
  };
  count("dropped_attributes_count", span.dropped_attributes);
  count("dropped_events_count", span.dropped_events);
  count("dropped_links_count", span.dropped_links);
  if (is_otlp_source(source) && source.back() == '}') {
    out += ',';
    out += source.substr(1, source.size() - 2);
  }
  out += "}}";
}
inline void render(std::string& out, const ephor_event& event, std::string_view source) {
  render(out, event, source, facts_of(source));
}

}  // namespace ephor::otlp
