// SPDX-License-Identifier: Apache-2.0
#include "otlp_random.hpp"

#include <bit>
#include <cmath>
#include <cstdio>

namespace ephor::oracle {
namespace {

constexpr std::uint64_t kNowNs = 1'790'000'000'000'000'000;

std::string hex(const std::string& bytes, bool is_upper) {
  std::string out;
  char digits[3];
  for (const char c : bytes) {
    std::snprintf(digits, sizeof digits, is_upper ? "%02X" : "%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += digits;
  }
  return out;
}

std::string base64(const std::string& bytes) {
  static const char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t word = 0;
  int bits = 0;
  for (const char c : bytes) {
    word = word << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6) out += kDigits[word >> (bits - 6) & 63];
  }
  if (bits > 0) out += kDigits[word << (6 - bits) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

class Speller {
 public:
  explicit Speller(Random& random) : random_(random), is_snake_(random.one_in(4)) {}

  const char* name(const char* camel, const char* snake) const { return is_snake_ ? snake : camel; }

  Json integer(std::uint64_t value) {
    if (random_.one_in(2)) return std::to_string(value);
    return value;
  }
  Json of(const AnyValue& value) {
    Json out = Json::object();
    switch (value.value_case()) {
      case AnyValue::kStringValue:
        out[name("stringValue", "string_value")] = value.string_value();
        break;
      case AnyValue::kBoolValue:
        out[name("boolValue", "bool_value")] = value.bool_value();
        break;
      case AnyValue::kIntValue:
        if (random_.one_in(2)) {
          out[name("intValue", "int_value")] = value.int_value();
        } else {
          out[name("intValue", "int_value")] = std::to_string(value.int_value());
        }
        break;
      case AnyValue::kDoubleValue: {
        const double number = value.double_value();
        Json& to = out[name("doubleValue", "double_value")];
        if (std::isnan(number))
          to = "NaN";
        else if (std::isinf(number))
          to = number > 0 ? "Infinity" : "-Infinity";
        else
          to = number;
        break;
      }
      case AnyValue::kArrayValue: {
        Json list = Json::array();
        for (const AnyValue& one : value.array_value().values()) list.push_back(of(one));
        out[name("arrayValue", "array_value")] = {{"values", list}};
        break;
      }
      case AnyValue::kKvlistValue:
        out[name("kvlistValue", "kvlist_value")] = {{"values", of(value.kvlist_value().values())}};
        break;
      case AnyValue::kBytesValue:
        out[name("bytesValue", "bytes_value")] = base64(value.bytes_value());
        break;
      default:
        break;
    }
    return out;
  }
  template <typename Attributes>
  Json of(const Attributes& attributes) {
    Json out = Json::array();
    for (const KeyValue& one : attributes) {
      Json member = Json::object();
      if (one.has_value() && random_.one_in(2)) member["value"] = of(one.value());
      member["key"] = one.key();
      if (one.has_value() && !member.contains("value")) member["value"] = of(one.value());
      if (random_.one_in(50)) member["unknown"] = {{"a", {1, 2}}};
      out.push_back(member);
    }
    return out;
  }
  template <typename Message>
  void attributes(Json& out, const Message& message) {
    if (message.attributes_size() > 0 || random_.one_in(3)) {
      out["attributes"] = of(message.attributes());
    } else if (random_.one_in(3)) {
      out["attributes"] = nullptr;
    }
    if (message.dropped_attributes_count() != 0) {
      out[name("droppedAttributesCount", "dropped_attributes_count")] =
          integer(message.dropped_attributes_count());
    }
  }

  Json of(const Span& span) {
    Json out = Json::object();
    const bool is_upper = random_.one_in(3);
    out["name"] = span.name();
    out[name("traceId", "trace_id")] = hex(span.trace_id(), is_upper);
    out[name("spanId", "span_id")] = hex(span.span_id(), is_upper);
    if (!span.parent_span_id().empty() || random_.one_in(2)) {
      out[name("parentSpanId", "parent_span_id")] = hex(span.parent_span_id(), false);
    }
    if (!span.trace_state().empty()) out[name("traceState", "trace_state")] = span.trace_state();
    static const char* const kKinds[] = {"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL",
                                         "SPAN_KIND_SERVER",      "SPAN_KIND_CLIENT",
                                         "SPAN_KIND_PRODUCER",    "SPAN_KIND_CONSUMER"};
    if (span.kind() >= 0 && span.kind() < 6 && random_.one_in(2)) {
      out["kind"] = kKinds[span.kind()];
    } else {
      out["kind"] = span.kind();
    }
    if (span.start_time_unix_nano() != 0) {
      out[name("startTimeUnixNano", "start_time_unix_nano")] = integer(span.start_time_unix_nano());
    }
    if (span.end_time_unix_nano() != 0) {
      out[name("endTimeUnixNano", "end_time_unix_nano")] = integer(span.end_time_unix_nano());
    }
    attributes(out, span);
    if (span.events_size() > 0) {
      Json& events = out["events"] = Json::array();
      for (const Event& event : span.events()) {
        Json one{{name("timeUnixNano", "time_unix_nano"), integer(event.time_unix_nano())},
                 {"name", event.name()}};
        attributes(one, event);
        events.push_back(one);
      }
    }
    if (span.links_size() > 0) {
      Json& links = out["links"] = Json::array();
      for (const Link& link : span.links()) {
        Json one{{name("spanId", "span_id"), hex(link.span_id(), is_upper)},
                 {name("traceId", "trace_id"), hex(link.trace_id(), false)}};
        if (!link.trace_state().empty())
          one[name("traceState", "trace_state")] = link.trace_state();
        if (link.flags() != 0) one["flags"] = integer(link.flags());
        attributes(one, link);
        links.push_back(one);
      }
    }
    if (span.dropped_events_count() != 0) {
      out[name("droppedEventsCount", "dropped_events_count")] =
          integer(span.dropped_events_count());
    }
    if (span.dropped_links_count() != 0) {
      out[name("droppedLinksCount", "dropped_links_count")] = integer(span.dropped_links_count());
    }
    if (span.has_status()) {
      static const char* const kCodes[] = {"STATUS_CODE_UNSET", "STATUS_CODE_OK",
                                           "STATUS_CODE_ERROR"};
      Json& status = out["status"] = Json::object();
      if (!span.status().message().empty()) status["message"] = span.status().message();
      if (random_.one_in(2) && span.status().code() < 3) {
        status["code"] = kCodes[span.status().code()];
      } else if (span.status().code() != 0) {
        status["code"] = span.status().code();
      }
    }
    if (span.flags() != 0) out["flags"] = integer(span.flags());
    return out;
  }

  Json of(const ExportTraceServiceRequest& request) {
    Json resources = Json::array();
    for (const ResourceSpans& resource : request.resource_spans()) {
      Json one = Json::object();
      if (resource.has_resource())
        attributes(one["resource"] = Json::object(), resource.resource());
      Json scopes = Json::array();
      for (const ScopeSpans& scope : resource.scope_spans()) {
        Json inner = Json::object();
        Json spans = Json::array();
        for (const Span& span : scope.spans()) spans.push_back(of(span));
        inner["spans"] = spans;
        if (scope.has_scope()) {
          Json& to = inner["scope"] = Json::object();
          if (!scope.scope().name().empty()) to["name"] = scope.scope().name();
          if (!scope.scope().version().empty()) to["version"] = scope.scope().version();
          attributes(to, scope.scope());
        }
        scopes.push_back(inner);
      }
      one[name("scopeSpans", "scope_spans")] = scopes;
      resources.push_back(one);
    }
    return {{name("resourceSpans", "resource_spans"), resources}};
  }

 private:
  Random& random_;
  const bool is_snake_;
};

}  // namespace

std::string Random::bytes(std::size_t size) {
  std::string out;
  while (out.size() < size) out += static_cast<char>(below(256));
  return out;
}

std::string Random::text() {
  static const char* const kPieces[] = {"a",
                                        "checkout",
                                        " ",
                                        "\n",
                                        "\"",
                                        "\\",
                                        "\t",
                                        "é",
                                        "漢",
                                        "\xF0\x9F\x98\x80",
                                        "GET /x",
                                        "\x01",
                                        "0123456789abcdef"};
  std::string out;
  const std::uint64_t pieces = one_in(20) ? below(60) : below(5);
  for (std::uint64_t i = 0; i < pieces; ++i) out += kPieces[below(std::size(kPieces))];
  return out;
}

void Random::fill(AnyValue& value, int depth) {
  switch (below(depth > 3 ? 5 : 8)) {
    case 0:
      value.set_string_value(text());
      break;
    case 1:
      value.set_bool_value(one_in(2));
      break;
    case 2:
      value.set_int_value(static_cast<std::int64_t>(one_in(2) ? below(300) : number()));
      break;
    case 3: {
      const double numbers[] = {
          0.0, -0.0,         1.5,      1e300,     -2.0,
          0.1, std::nan(""), INFINITY, -INFINITY, static_cast<double>(below(1'000'000)) / 7.0};
      value.set_double_value(numbers[below(std::size(numbers))]);
      break;
    }
    case 4:
      break;  // none at all
    case 5:
      value.mutable_array_value();
      for (std::uint64_t i = below(4); i > 0; --i) {
        fill(*value.mutable_array_value()->add_values(), depth + 1);
      }
      break;
    case 6:
      value.mutable_kvlist_value();
      for (std::uint64_t i = below(3); i > 0; --i) {
        KeyValue& one = *value.mutable_kvlist_value()->add_values();
        one.set_key("k" + std::to_string(i));
        fill(*one.mutable_value(), depth + 1);
      }
      break;
    default:
      value.set_bytes_value(bytes(below(9)));
      break;
  }
}

void Random::fill(KeyValue& attribute) {
  static const char* const kKeys[] = {"http.method",    "decision.id",    "decision_id", "order.id",
                                      "execution_id",   "trade.id",       "component",   "account",
                                      "correlation.id", "correlation_id", "é",           ""};
  if (one_in(3)) {
    attribute.set_key(kKeys[below(std::size(kKeys))]);
    // JSON has no number for these: rendered, they are texts, which ids may be and numbers not.
    if (!one_in(20)) fill(*attribute.mutable_value(), 0);
    if (!std::isfinite(attribute.value().double_value())) attribute.clear_value();
    return;
  } else {
    attribute.set_key("key." + std::to_string(below(1000)));
  }
  if (!one_in(20)) fill(*attribute.mutable_value(), 0);
}

void Random::fill(Resource& resource) {
  if (!one_in(4)) {
    KeyValue& service = *resource.add_attributes();
    service.set_key("service.name");
    service.mutable_value()->set_string_value("service-" + std::to_string(below(5)));
  }
  for (std::uint64_t i = below(3); i > 0; --i) {
    KeyValue& one = *resource.add_attributes();
    one.set_key("host." + std::to_string(i));
    one.mutable_value()->set_string_value(text());
  }
  if (one_in(4)) resource.set_dropped_attributes_count(static_cast<std::uint32_t>(below(1000)));
}

void Random::fill(Scope& scope) {
  scope.set_name(one_in(3) ? "" : "scope-" + std::to_string(below(3)));
  if (one_in(2)) scope.set_version("1." + std::to_string(below(3)));
  if (one_in(5)) fill(*scope.add_attributes());
}

void Random::fill(Span& span) {
  span.set_trace_id(bytes(one_in(60) ? below(20) : 16));
  span.set_span_id(bytes(one_in(60) ? below(12) : 8));
  if (one_in(80)) span.set_trace_id(std::string(16, '\0'));
  if (one_in(2)) span.set_parent_span_id(bytes(one_in(60) ? below(12) : 8));
  if (one_in(40)) span.set_parent_span_id(std::string(8, '\0'));
  span.set_name(text());
  if (one_in(5)) span.set_trace_state("vendor=" + std::to_string(below(99)));
  span.set_kind(one_in(20) ? static_cast<std::int32_t>(number()) : static_cast<int>(below(6)));
  span.set_start_time_unix_nano(kNowNs + below(1'000'000'000));
  span.set_end_time_unix_nano(span.start_time_unix_nano() + below(50'000'000));
  if (one_in(60)) span.set_end_time_unix_nano(number());
  if (one_in(60)) span.set_start_time_unix_nano(below(2));
  for (std::uint64_t i = below(6); i > 0; --i) fill(*span.add_attributes());
  if (one_in(4)) span.set_dropped_attributes_count(static_cast<std::uint32_t>(number()));
  for (std::uint64_t i = one_in(3) ? below(4) : 0; i > 0; --i) {
    Event& event = *span.add_events();
    event.set_time_unix_nano(span.start_time_unix_nano() + below(1000));
    event.set_name(one_in(3) ? "exception" : text());
    for (std::uint64_t k = below(3); k > 0; --k) fill(*event.add_attributes());
    if (one_in(4)) event.set_dropped_attributes_count(static_cast<std::uint32_t>(below(300)));
  }
  for (std::uint64_t i = one_in(5) ? below(3) : 0; i > 0; --i) {
    Link& link = *span.add_links();
    link.set_trace_id(bytes(16));
    link.set_span_id(bytes(8));
    if (one_in(3)) link.set_trace_state("a=b");
    if (one_in(3)) fill(*link.add_attributes());
    if (one_in(3)) link.set_flags(static_cast<std::uint32_t>(number()));
  }
  if (one_in(4)) span.set_dropped_events_count(static_cast<std::uint32_t>(below(300)));
  if (one_in(4)) span.set_dropped_links_count(static_cast<std::uint32_t>(below(300)));
  if (one_in(3)) {
    span.mutable_status()->set_code(static_cast<int>(below(3)));
    if (one_in(2)) span.mutable_status()->set_message(text());
  }
  if (one_in(2)) span.set_flags(static_cast<std::uint32_t>(one_in(2) ? 0x101 : number()));
}

ExportTraceServiceRequest Random::request() {
  ExportTraceServiceRequest out;
  for (std::uint64_t r = below(3); r > 0; --r) {
    ResourceSpans& resource = *out.add_resource_spans();
    if (!one_in(5)) fill(*resource.mutable_resource());
    for (std::uint64_t s = below(3); s > 0; --s) {
      ScopeSpans& scope = *resource.add_scope_spans();
      if (!one_in(4)) fill(*scope.mutable_scope());
      for (std::uint64_t i = below(4); i > 0; --i) fill(*scope.add_spans());
    }
  }
  return out;
}

Json to_json(const ExportTraceServiceRequest& request, Random& random) {
  return Speller(random).of(request);
}

}  // namespace ephor::oracle
