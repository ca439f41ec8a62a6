// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_span.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "event/otlp_identity.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void put_hex(char* to, std::string_view bytes) {
  for (const char c : bytes) {
    *to++ = kHexDigits[static_cast<unsigned char>(c) >> 4];
    *to++ = kHexDigits[static_cast<unsigned char>(c) & 15];
  }
}

std::string bytes_found(std::size_t size) { return "found " + std::to_string(size) + " bytes"; }

}  // namespace

bool is_utf8(std::string_view text) {
  constexpr std::uint64_t kHighs = 0x8080808080808080ULL;
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    if ((word & kHighs) != 0) return simdjson::validate_utf8(at, left);
  }
  unsigned char seen = 0;
  for (std::size_t i = 0; i < left; ++i) seen |= static_cast<unsigned char>(at[i]);
  return seen < 0x80 || simdjson::validate_utf8(at, left);
}

// What describing needs of a span.
struct OtlpSpanReader::Fields {
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view parent_span_id;
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;
  // hash64 of the first valid id under either name; the dotted one counts.
  std::optional<std::uint64_t> dotted_correlation;
  std::optional<std::uint64_t> plain_correlation;

  std::uint64_t correlation() const {
    if (dotted_correlation) return *dotted_correlation;
    return plain_correlation.value_or(0);
  }
};

// One pass over the messages of a span, with what is left of its budgets.
struct OtlpSpanReader::Scan {
  const IngestConfig& config;
  std::vector<JoinId>& joins;
  Fields& fields;
  Fault& fault;
  std::uint32_t fields_left;
  int depth_max;

  Scan(const IngestConfig& limits, std::vector<JoinId>& ids, Fields& out, Fault& why)
      : config(limits),
        joins(ids),
        fields(out),
        fault(why),
        fields_left(limits.otlp_fields_max),
        depth_max(std::clamp(static_cast<int>(limits.depth_max) - 8, 1, otlp::kValueDepthMax)) {}

  bool spend() {
    if (fields_left == 0) {
      return refuse(fault, "",
                    "found more than " + std::to_string(config.otlp_fields_max) +
                        " fields, expected at most so many (ingest.otlp.fields_max)");
    }
    --fields_left;
    return true;
  }

  bool damaged(const ProtoReader& in, std::string_view message) {
    return refuse(fault, "",
                  "found " + std::string(in.error()) + " at byte " + std::to_string(in.offset()) +
                      ", expected the fields of " + std::string(message));
  }

  bool text(std::string_view value, std::string_view pointer) {
    if (value.size() > config.otlp_text_bytes_max) {
      return refuse(fault, pointer,
                    bytes_found(value.size()) + ", expected at most " +
                        std::to_string(config.otlp_text_bytes_max) +
                        " (ingest.otlp.text_bytes_max)");
    }
    if (is_utf8(value)) return true;
    return refuse(fault, pointer, "found bytes that are no UTF-8, expected text");
  }

  // An AnyValue.
  bool value(std::string_view message, int depth) {
    if (depth > depth_max) {
      return refuse(fault, "",
                    "found values nested deeper than " + std::to_string(depth_max) +
                        ", expected at most so deep (ingest.depth_max)");
    }
    ProtoReader in(message);
    while (in.next()) {
      if (!spend()) return false;
      if (in.type() != WireType::bytes) continue;
      if (in.field() == 1) {
        if (!text(in.bytes(), "/stringValue")) return false;
      } else if (in.field() == 5) {
        if (!array(in.bytes(), depth + 1)) return below(fault, "arrayValue");
      } else if (in.field() == 6) {
        if (!attributes(in.bytes(), 1, "values", depth + 1)) return below(fault, "kvlistValue");
      } else if (in.field() == 7 && in.bytes().size() > config.otlp_text_bytes_max) {
        return refuse(fault, "/bytesValue",
                      bytes_found(in.bytes().size()) + ", expected at most " +
                          std::to_string(config.otlp_text_bytes_max) +
                          " (ingest.otlp.text_bytes_max)");
      }
    }
    return in.ok() || damaged(in, "an AnyValue");
  }

  bool array(std::string_view message, int depth) {
    ProtoReader in(message);
    std::uint32_t index = 0;
    while (in.next()) {
      if (!spend()) return false;
      if (!in.is(1, WireType::bytes)) continue;
      if (!value(in.bytes(), depth)) return below(fault, "values", index);
      ++index;
    }
    return in.ok() || damaged(in, "an ArrayValue");
  }

  bool key_value(std::string_view message, int depth, std::string_view& key,
                 std::string_view& content) {
    ProtoReader in(message);
    while (in.next()) {
      if (!spend()) return false;
      if (in.is(1, WireType::bytes)) {
        key = in.bytes();
        if (!text(key, "/key")) return false;
      } else if (in.is(2, WireType::bytes)) {
        content = in.bytes();
        if (!value(content, depth)) return below(fault, "value");
      }
    }
    return in.ok() || damaged(in, "a KeyValue");
  }

  bool one_attribute(std::string_view message, std::string_view name, std::uint32_t index,
                     int depth, std::string_view& key, std::string_view& content) {
    if (index >= config.otlp_attributes_max) {
      return refuse(fault, std::string("/").append(name),
                    "found more than " + std::to_string(config.otlp_attributes_max) +
                        ", expected at most so many (ingest.otlp.attributes_max)");
    }
    return key_value(message, depth, key, content) || below(fault, name, index);
  }

  // The KeyValues in `field`; other fields are the caller's.
  bool attributes(std::string_view message, std::uint32_t field, std::string_view name, int depth) {
    ProtoReader in(message);
    std::uint32_t index = 0;
    while (in.next()) {
      if (!spend()) return false;
      if (!in.is(field, WireType::bytes)) continue;
      std::string_view key;
      std::string_view content;
      if (!one_attribute(in.bytes(), name, index++, depth, key, content)) return false;
    }
    return in.ok() || damaged(in, name);
  }

  // An Event or a Link: attributes in `field`, ids of a link.
  bool part(std::string_view message, std::uint32_t field, bool is_link) {
    ProtoReader in(message);
    std::uint32_t index = 0;
    while (in.next()) {
      if (!spend()) return false;
      if (in.type() != WireType::bytes) continue;
      if (in.field() == field) {
        std::string_view key;
        std::string_view content;
        if (!one_attribute(in.bytes(), "attributes", index++, 0, key, content)) return false;
      } else if (is_link && in.field() <= 2) {
        const std::size_t wanted = in.field() == 1 ? 16 : 8;
        if (in.bytes().size() != wanted) {
          return refuse(fault, in.field() == 1 ? "/traceId" : "/spanId",
                        bytes_found(in.bytes().size()) + ", expected " + std::to_string(wanted));
        }
      } else if (is_link && in.field() == 3) {
        if (!text(in.bytes(), "/traceState")) return false;
      } else if (!is_link && in.field() == 2) {
        if (!text(in.bytes(), "/name")) return false;
      }
    }
    return in.ok() || damaged(in, is_link ? "a Link" : "an Event");
  }

  bool status(std::string_view message) {
    ProtoReader in(message);
    while (in.next()) {
      if (!spend()) return false;
      if (in.is(2, WireType::bytes) && !text(in.bytes(), "/message")) return false;
    }
    return in.ok() || damaged(in, "a Status");
  }

  // A span attribute whose value joins it to something.
  void join(std::string_view key, std::string_view content) {
    std::optional<JoinKind> kind;
    bool is_dotted = false;
    switch (key.size()) {
      case 8:
        if (key == "order.id" || key == "order_id") kind = JoinKind::order;
        if (key == "trade.id" || key == "trade_id") kind = JoinKind::trade;
        break;
      case 11:
        if (key == "decision.id" || key == "decision_id") kind = JoinKind::decision;
        break;
      case 12:
        if (key == "execution.id" || key == "execution_id") kind = JoinKind::execution;
        break;
      case 14:
        is_dotted = key == "correlation.id";
        if (is_dotted || key == "correlation_id") kind = JoinKind::correlation;
        break;
      default:
        break;
    }
    if (!kind) {
      for (const std::string& name : config.join_attributes) {
        if (key == name) kind = JoinKind::attribute;
      }
      if (!kind) return;
    }
    otlp::Digits digits;
    const std::string_view id = otlp::id_of(otlp::value_of(content), digits);
    if (id.empty()) return;
    const std::uint64_t hash = hash64(id);
    if (*kind == JoinKind::correlation) {
      std::optional<std::uint64_t>& known =
          is_dotted ? fields.dotted_correlation : fields.plain_correlation;
      if (!known) known = hash;
    } else {
      joins.push_back({*kind, hash});
    }
  }

  bool span(std::string_view message) {
    ProtoReader in(message);
    std::uint32_t attribute = 0;
    std::uint32_t event = 0;
    std::uint32_t link = 0;
    while (in.next()) {
      if (!spend()) return false;
      if (in.type() == WireType::fixed64) {
        if (in.field() == 7) fields.start_ns = in.fixed64();
        if (in.field() == 8) fields.end_ns = in.fixed64();
        continue;
      }
      if (in.type() != WireType::bytes) continue;
      switch (in.field()) {
        case 1:
          fields.trace_id = in.bytes();
          break;
        case 2:
          fields.span_id = in.bytes();
          break;
        case 3:
          if (!text(in.bytes(), "/traceState")) return false;
          break;
        case 4:
          fields.parent_span_id = in.bytes();
          break;
        case 5:
          if (!text(in.bytes(), "/name")) return false;
          break;
        case otlp::kSpanAttributes: {
          std::string_view key;
          std::string_view content;
          if (!one_attribute(in.bytes(), "attributes", attribute++, 0, key, content)) return false;
          join(key, content);
          break;
        }
        case otlp::kSpanEvents:
          if (!part(in.bytes(), otlp::kEventAttributes, false)) {
            return below(fault, "events", event);
          }
          ++event;
          break;
        case otlp::kSpanLinks:
          if (!part(in.bytes(), otlp::kLinkAttributes, true)) return below(fault, "links", link);
          ++link;
          break;
        case 15:
          if (!status(in.bytes())) return below(fault, "status");
          break;
        default:
          break;
      }
    }
    return in.ok() || damaged(in, "a Span");
  }

  bool check_ids() {
    const auto check = [&](std::string_view id, std::size_t size, std::string_view pointer) {
      if (id.size() != size) {
        return refuse(fault, pointer,
                      bytes_found(id.size()) + ", expected " + std::to_string(size));
      }
      if (!otlp::is_zero(id)) return true;
      return refuse(fault, pointer, "found zeros only, expected an id");
    };
    if (!check(fields.trace_id, 16, "/traceId") || !check(fields.span_id, 8, "/spanId")) {
      return false;
    }
    // Some clients send zeros for a root.
    if (fields.parent_span_id.empty() || fields.parent_span_id.size() == 8) return true;
    return refuse(fault, "/parentSpanId",
                  bytes_found(fields.parent_span_id.size()) + ", expected 8 or none");
  }

  bool check_times() {
    const auto check = [&](std::uint64_t time, std::string_view pointer) {
      if (time != 0 && time <= static_cast<std::uint64_t>(INT64_MAX)) return true;
      return refuse(
          fault, pointer,
          "found " + std::to_string(time) + ", expected nanoseconds since 1970, before 2262");
    };
    if (!check(fields.start_ns, "/startTimeUnixNano") ||
        !check(fields.end_ns, "/endTimeUnixNano")) {
      return false;
    }
    if (fields.end_ns >= fields.start_ns) return true;
    return refuse(fault, "/endTimeUnixNano",
                  "found " + std::to_string(fields.end_ns) +
                      ", expected at least startTimeUnixNano " + std::to_string(fields.start_ns));
  }
};

std::uint16_t OtlpSpanReader::topic() {
  if (topic_ == 0) topic_ = static_cast<std::uint16_t>(names_.topics.id("ephor.span"));
  return topic_;
}

void OtlpSpanReader::set_trace(std::string_view trace_id, ephor_event& event) {
  std::memcpy(event.trace_id, trace_id.data(), sizeof event.trace_id);
  if (has_last_trace_ && std::memcmp(last_trace_.data(), trace_id.data(), 16) == 0) return;
  std::memcpy(last_trace_.data(), trace_id.data(), 16);
  put_hex(trace_text_.data(), trace_id);
  last_trace_hash_ = hash64({trace_text_.data(), trace_text_.size()});
  has_last_trace_ = true;
}

bool OtlpSpanReader::describe(std::string_view span, const OtlpSource& source,
                              std::int64_t arrived_ns, ephor_event& event, Hash128& id,
                              Fault& fault) {
  joins_.clear();
  if (span.size() > config_.record_bytes_max) {
    return refuse(fault, "",
                  "found a span of " + std::to_string(span.size()) + " bytes, expected at most " +
                      std::to_string(config_.record_bytes_max) + " (ingest.record_bytes_max)");
  }
  Fields fields;
  Scan scan(config_, joins_, fields, fault);
  if (!scan.span(span) || !scan.check_ids() || !scan.check_times()) return false;

  event = {};
  event.time_ns = static_cast<std::int64_t>(fields.end_ns);
  if (event.time_ns - config_.future_skew_ns > arrived_ns) {
    event.time_ns = arrived_ns;
    event.flags |= EPHOR_EVENT_TIME_CLAMPED;
  }
  event.correlation = fields.correlation() != 0 ? fields.correlation() : source.correlation;
  event.record = span.data();
  event.record_length = static_cast<std::uint32_t>(span.size());
  event.data_offset = 0;
  event.source = source.number;
  event.topic = topic();
  event.encoding = EPHOR_ENCODING_OTLP;
  set_trace(fields.trace_id, event);
  joins_.push_back({JoinKind::trace, last_trace_hash_});
  if (event.correlation != 0) joins_.push_back({JoinKind::correlation, event.correlation});

  id = otlp_span_identity(source.identity, fields.trace_id.data(), fields.span_id.data());
  return true;
}

bool OtlpSpanReader::redescribe(std::string_view span, const OtlpSource& source,
                                ephor_event& event) {
  otlp::Span read;
  if (!otlp::read(span, read) || read.trace_id.size() != sizeof event.trace_id) return false;
  otlp::Digits digits;
  const otlp::OwnIds own = otlp::own_ids(span, digits);
  event.correlation = own.correlation_id.empty() ? source.correlation : hash64(own.correlation_id);
  std::memcpy(event.trace_id, read.trace_id.data(), sizeof event.trace_id);
  event.record = span.data();
  event.record_length = static_cast<std::uint32_t>(span.size());
  event.data_offset = 0;
  event.source = source.number;
  event.topic = topic();
  event.encoding = EPHOR_ENCODING_OTLP;
  return true;
}

bool OtlpSpanReader::check_source(std::string_view message, std::uint32_t field, Fault& fault) {
  Fields ignored;
  std::vector<JoinId> none;
  Scan scan(config_, none, ignored, fault);
  if (!scan.attributes(message, field, "attributes", 0)) return false;
  if (field == 1) return true;
  // A scope's name and version.
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(1, WireType::bytes) && !scan.text(in.bytes(), "/name")) return false;
    if (in.is(2, WireType::bytes) && !scan.text(in.bytes(), "/version")) return false;
  }
  return true;
}

}  // namespace ephor::host
