// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_schema.hpp"

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;
using enum OtlpKind;

extern const OtlpMessage kAnyValue;
extern const OtlpMessage kKeyValue;

constexpr OtlpField kListFields[] = {{"values", 1, messages, &kAnyValue}};
constexpr OtlpMessage kList{kListFields};
constexpr OtlpField kMapFields[] = {{"values", 1, messages, &kKeyValue}};
constexpr OtlpMessage kMap{kMapFields};
constexpr OtlpField kAnyValueFields[] = {{"stringValue", 1, text},
                                         {"boolValue", 2, boolean},
                                         {"intValue", 3, varint},
                                         {"doubleValue", 4, number},
                                         {"arrayValue", 5, message, &kList},
                                         {"kvlistValue", 6, message, &kMap},
                                         {"bytesValue", 7, base64}};
constexpr OtlpMessage kAnyValue{kAnyValueFields};
constexpr OtlpField kKeyValueFields[] = {{"key", 1, text}, {"value", 2, message, &kAnyValue}};
constexpr OtlpMessage kKeyValue{kKeyValueFields};

constexpr OtlpField kResourceFields[] = {{"attributes", 1, messages, &kKeyValue},
                                         {"droppedAttributesCount", 2, varint}};
constexpr OtlpMessage kResource{kResourceFields};
constexpr OtlpField kScopeFields[] = {{"name", 1, text},
                                      {"version", 2, text},
                                      {"attributes", 3, messages, &kKeyValue},
                                      {"droppedAttributesCount", 4, varint}};
constexpr OtlpMessage kScope{kScopeFields};

constexpr OtlpField kExemplarFields[] = {{"filteredAttributes", 7, messages, &kKeyValue},
                                         {"timeUnixNano", 2, fixed64},
                                         {"asDouble", 3, number},
                                         {"asInt", 6, fixed64},
                                         {"spanId", 4, hex},
                                         {"traceId", 5, hex}};
constexpr OtlpMessage kExemplar{kExemplarFields};
constexpr OtlpField kNumberPointFields[] = {{"attributes", 7, messages, &kKeyValue},
                                            {"startTimeUnixNano", 2, fixed64},
                                            {"timeUnixNano", 3, fixed64},
                                            {"asDouble", 4, number},
                                            {"asInt", 6, fixed64},
                                            {"exemplars", 5, messages, &kExemplar},
                                            {"flags", 8, varint}};
constexpr OtlpMessage kNumberPoint{kNumberPointFields};
constexpr OtlpField kHistogramPointFields[] = {{"attributes", 9, messages, &kKeyValue},
                                               {"startTimeUnixNano", 2, fixed64},
                                               {"timeUnixNano", 3, fixed64},
                                               {"count", 4, fixed64},
                                               {"sum", 5, number},
                                               {"bucketCounts", 6, fixed64s},
                                               {"explicitBounds", 7, numbers},
                                               {"exemplars", 8, messages, &kExemplar},
                                               {"flags", 10, varint},
                                               {"min", 11, number},
                                               {"max", 12, number}};
constexpr OtlpMessage kHistogramPoint{kHistogramPointFields};
constexpr OtlpField kBucketsFields[] = {{"offset", 1, zigzag}, {"bucketCounts", 2, varints}};
constexpr OtlpMessage kBuckets{kBucketsFields};
constexpr OtlpField kExponentialPointFields[] = {{"attributes", 1, messages, &kKeyValue},
                                                 {"startTimeUnixNano", 2, fixed64},
                                                 {"timeUnixNano", 3, fixed64},
                                                 {"count", 4, fixed64},
                                                 {"sum", 5, number},
                                                 {"scale", 6, zigzag},
                                                 {"zeroCount", 7, fixed64},
                                                 {"positive", 8, message, &kBuckets},
                                                 {"negative", 9, message, &kBuckets},
                                                 {"flags", 10, varint},
                                                 {"exemplars", 11, messages, &kExemplar},
                                                 {"min", 12, number},
                                                 {"max", 13, number},
                                                 {"zeroThreshold", 14, number}};
constexpr OtlpMessage kExponentialPoint{kExponentialPointFields};
constexpr OtlpField kQuantileFields[] = {{"quantile", 1, number}, {"value", 2, number}};
constexpr OtlpMessage kQuantile{kQuantileFields};
constexpr OtlpField kSummaryPointFields[] = {{"attributes", 7, messages, &kKeyValue},
                                             {"startTimeUnixNano", 2, fixed64},
                                             {"timeUnixNano", 3, fixed64},
                                             {"count", 4, fixed64},
                                             {"sum", 5, number},
                                             {"quantileValues", 6, messages, &kQuantile},
                                             {"flags", 8, varint}};
constexpr OtlpMessage kSummaryPoint{kSummaryPointFields};

constexpr std::string_view kTemporalities[] = {"AGGREGATION_TEMPORALITY_UNSPECIFIED",
                                               "AGGREGATION_TEMPORALITY_DELTA",
                                               "AGGREGATION_TEMPORALITY_CUMULATIVE"};
constexpr OtlpField kGaugeFields[] = {{"dataPoints", 1, items, &kNumberPoint}};
constexpr OtlpMessage kGauge{kGaugeFields};
constexpr OtlpField kSumFields[] = {{"dataPoints", 1, items, &kNumberPoint},
                                    {"aggregationTemporality", 2, varint, nullptr, kTemporalities},
                                    {"isMonotonic", 3, boolean}};
constexpr OtlpMessage kSum{kSumFields};
constexpr OtlpField kHistogramFields[] = {
    {"dataPoints", 1, items, &kHistogramPoint},
    {"aggregationTemporality", 2, varint, nullptr, kTemporalities}};
constexpr OtlpMessage kHistogram{kHistogramFields};
constexpr OtlpField kExponentialFields[] = {
    {"dataPoints", 1, items, &kExponentialPoint},
    {"aggregationTemporality", 2, varint, nullptr, kTemporalities}};
constexpr OtlpMessage kExponential{kExponentialFields};
constexpr OtlpField kSummaryFields[] = {{"dataPoints", 1, items, &kSummaryPoint}};
constexpr OtlpMessage kSummary{kSummaryFields};
constexpr OtlpField kMetricFields[] = {{"name", 1, text},
                                       {"description", 2, text},
                                       {"unit", 3, text},
                                       {"gauge", 5, message, &kGauge},
                                       {"sum", 7, message, &kSum},
                                       {"histogram", 9, message, &kHistogram},
                                       {"exponentialHistogram", 10, message, &kExponential},
                                       {"summary", 11, message, &kSummary},
                                       {"metadata", 12, messages, &kKeyValue}};
constexpr OtlpMessage kMetric{kMetricFields};
constexpr OtlpField kScopeMetricsFields[] = {
    {"scope", 1, message, &kScope}, {"metrics", 2, messages, &kMetric}, {"schemaUrl", 3, text}};
constexpr OtlpMessage kScopeMetrics{kScopeMetricsFields};
constexpr OtlpField kResourceMetricsFields[] = {{"resource", 1, message, &kResource},
                                                {"scopeMetrics", 2, messages, &kScopeMetrics},
                                                {"schemaUrl", 3, text}};
constexpr OtlpMessage kResourceMetrics{kResourceMetricsFields};
constexpr OtlpField kMetricsRequestFields[] = {{"resourceMetrics", 1, messages, &kResourceMetrics}};

constexpr std::string_view kSeverities[] = {
    "SEVERITY_NUMBER_UNSPECIFIED", "SEVERITY_NUMBER_TRACE",  "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",      "SEVERITY_NUMBER_TRACE4", "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",      "SEVERITY_NUMBER_DEBUG3", "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",        "SEVERITY_NUMBER_INFO2",  "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",       "SEVERITY_NUMBER_WARN",   "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",       "SEVERITY_NUMBER_WARN4",  "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",      "SEVERITY_NUMBER_ERROR3", "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",       "SEVERITY_NUMBER_FATAL2", "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4"};
constexpr OtlpField kLogRecordFields[] = {{"timeUnixNano", 1, fixed64},
                                          {"observedTimeUnixNano", 11, fixed64},
                                          {"severityNumber", 2, varint, nullptr, kSeverities},
                                          {"severityText", 3, text},
                                          {"body", 5, message, &kAnyValue},
                                          {"attributes", 6, messages, &kKeyValue},
                                          {"droppedAttributesCount", 7, varint},
                                          {"flags", 8, fixed32},
                                          {"traceId", 9, hex},
                                          {"spanId", 10, hex},
                                          {"eventName", 12, text}};
constexpr OtlpMessage kLogRecord{kLogRecordFields};
constexpr OtlpField kScopeLogsFields[] = {
    {"scope", 1, message, &kScope}, {"logRecords", 2, items, &kLogRecord}, {"schemaUrl", 3, text}};
constexpr OtlpMessage kScopeLogs{kScopeLogsFields};
constexpr OtlpField kResourceLogsFields[] = {{"resource", 1, message, &kResource},
                                             {"scopeLogs", 2, messages, &kScopeLogs},
                                             {"schemaUrl", 3, text}};
constexpr OtlpMessage kResourceLogs{kResourceLogsFields};
constexpr OtlpField kLogsRequestFields[] = {{"resourceLogs", 1, messages, &kResourceLogs}};

// ---- writing protobuf ---------------------------------------------------------------------------

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out += static_cast<char>((value & 0x7FU) | 0x80U);
  out += static_cast<char>(value);
}

void put_tag(std::string& out, std::uint32_t number, unsigned wire_type) {
  put_varint(out, std::uint64_t{number} << 3U | wire_type);
}

void put_fixed(std::string& out, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xFFU);
}

void put_bytes(std::string& out, std::uint32_t number, std::string_view value) {
  put_tag(out, number, 2);
  put_varint(out, value.size());
  out += value;
}

// ---- reading JSON -------------------------------------------------------------------------------

// 64 bits, signed or not, as a number or as decimal digits; also numbers like 3.0 and 1e3.
std::optional<std::uint64_t> integer_of(dom::element value) {
  std::int64_t integer = 0;
  std::uint64_t natural = 0;
  if (value.get(integer) == simdjson::SUCCESS) return static_cast<std::uint64_t>(integer);
  if (value.get(natural) == simdjson::SUCCESS) return natural;
  double number_value = 0.0;
  if (std::string_view digits; value.get(digits) == simdjson::SUCCESS) {
    const char* const end = digits.data() + digits.size();
    if (const auto read = std::from_chars(digits.data(), end, integer);
        read.ec == std::errc() && read.ptr == end && !digits.empty()) {
      return static_cast<std::uint64_t>(integer);
    }
    const auto read = std::from_chars(digits.data(), end, natural);
    if (read.ec != std::errc() || read.ptr != end || digits.empty()) return std::nullopt;
    return natural;
  }
  if (value.get(number_value) != simdjson::SUCCESS) return std::nullopt;
  if (std::abs(number_value) >= 9e15 || number_value != std::trunc(number_value)) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(number_value));
}

std::optional<double> number_of(dom::element value) {
  double out = 0.0;
  if (value.get(out) == simdjson::SUCCESS) return out;
  std::string_view word;
  if (value.get(word) != simdjson::SUCCESS) return std::nullopt;
  if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (word == "Infinity") return std::numeric_limits<double>::infinity();
  if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return out;
}

std::optional<std::string> bytes_of_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (std::size_t at = 0; at < digits.size(); at += 2) {
    unsigned byte = 0;
    const char* const end = digits.data() + at + 2;
    const auto read = std::from_chars(digits.data() + at, end, byte, 16);
    if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
    out += static_cast<char>(byte);
  }
  return out;
}

// The standard and the URL-safe alphabet, with padding or without.
std::optional<std::string> bytes_of_base64(std::string_view digits) {
  while (!digits.empty() && digits.back() == '=') digits.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : digits) {
    unsigned value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<unsigned>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<unsigned>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<unsigned>(c - '0') + 52;
    } else if (c == '+' || c == '-') {
      value = 62;
    } else if (c == '/' || c == '_') {
      value = 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6U | value;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFFU);
  }
  return count >= 6 ? std::nullopt : std::optional(std::move(out));
}

class Transcoder {
 public:
  Transcoder(std::vector<Fault>& item_faults, Fault& fault)
      : item_faults_(item_faults), fault_(fault) {}

  bool put_message(std::string& out, const OtlpMessage& schema, dom::element json) {
    dom::object object;
    if (json.get(object) != simdjson::SUCCESS) return fail(json, "an object");
    for (const auto& [key, value] : object) {
      const OtlpField* field = find(schema, key);
      if (field == nullptr || value.is_null()) continue;
      const std::size_t size_before = pointer_.size();
      append_pointer_token(pointer_, key);
      if (!put_field(out, *field, value)) return false;
      pointer_.resize(size_before);
    }
    return true;
  }

 private:
  // In lowerCamelCase or as the .proto file has it.
  static const OtlpField* find(const OtlpMessage& schema, std::string_view key) {
    for (const OtlpField& field : schema.fields) {
      if (field.name == key || is_snake_case_of(key, field.name)) return &field;
    }
    return nullptr;
  }
  static bool is_snake_case_of(std::string_view key, std::string_view camel) {
    std::size_t at = 0;
    for (const char c : camel) {
      const bool is_upper = c >= 'A' && c <= 'Z';
      if (is_upper && (at >= key.size() || key[at++] != '_')) return false;
      if (at >= key.size() || key[at++] != (is_upper ? static_cast<char>(c + 32) : c)) return false;
    }
    return at == key.size();
  }

  bool fail(dom::element found, std::string_view expected) {
    fault_ = {pointer_, "found " + shown(found) + ", expected " + std::string(expected)};
    return false;
  }

  bool put_field(std::string& out, const OtlpField& field, dom::element value) {
    switch (field.kind) {
      case text:
      case hex:
      case base64:
        return put_text(out, field, value);
      case boolean: {
        bool is_true = false;
        if (value.get(is_true) != simdjson::SUCCESS) return fail(value, "a boolean");
        put_tag(out, field.number, 0);
        put_varint(out, is_true ? 1 : 0);
        return true;
      }
      case varint:
      case zigzag:
      case fixed64:
      case fixed32:
        return put_integer(out, field, value);
      case number: {
        const auto found = number_of(value);
        if (!found) return fail(value, "a number");
        put_tag(out, field.number, 1);
        put_fixed(out, std::bit_cast<std::uint64_t>(*found), 8);
        return true;
      }
      case message: {
        std::string inner;
        if (!put_message(inner, *field.message, value)) return false;
        put_bytes(out, field.number, inner);
        return true;
      }
      default:
        return put_list(out, field, value);
    }
  }

  bool put_text(std::string& out, const OtlpField& field, dom::element value) {
    std::string_view found;
    if (value.get(found) != simdjson::SUCCESS) return fail(value, "text");
    if (field.kind == text) {
      put_bytes(out, field.number, found);
      return true;
    }
    const auto bytes = field.kind == hex ? bytes_of_hex(found) : bytes_of_base64(found);
    if (!bytes) return fail(value, field.kind == hex ? "hexadecimal digits" : "base64");
    put_bytes(out, field.number, *bytes);
    return true;
  }

  bool put_integer(std::string& out, const OtlpField& field, dom::element value) {
    std::optional<std::uint64_t> found = integer_of(value);
    if (std::string_view name; !found && value.get(name) == simdjson::SUCCESS) {
      for (std::size_t i = 0; i < field.names.size(); ++i) {
        if (field.names[i] == name) found = i;
      }
    }
    if (!found) return fail(value, "an integer");
    if (field.kind == zigzag) {
      const auto integer = static_cast<std::int64_t>(*found);
      if (integer != static_cast<std::int32_t>(integer)) return fail(value, "32 bits");
      found = static_cast<std::uint64_t>(integer) << 1U ^ static_cast<std::uint64_t>(integer >> 63);
    }
    if (field.kind == fixed32 && *found > UINT32_MAX) return fail(value, "32 bits");
    const bool is_varint = field.kind == varint || field.kind == zigzag;
    put_tag(out, field.number, is_varint ? 0 : field.kind == fixed64 ? 1 : 5);
    if (is_varint) {
      put_varint(out, *found);
    } else {
      put_fixed(out, *found, field.kind == fixed64 ? 8 : 4);
    }
    return true;
  }

  bool put_list(std::string& out, const OtlpField& field, dom::element value) {
    dom::array array;
    if (value.get(array) != simdjson::SUCCESS) return fail(value, "an array");
    std::string packed;
    std::size_t index = 0;
    for (const dom::element element : array) {
      const std::size_t size_before = pointer_.size();
      (pointer_ += '/') += std::to_string(index++);
      if (field.kind == messages || field.kind == items) {
        packed.clear();
        if (!put_message(packed, *field.message, element)) {
          if (field.kind == messages) return false;
          packed.clear();
          put_tag(packed, kOtlpFaultField, 0);
          put_varint(packed, item_faults_.size());
          item_faults_.push_back(std::move(fault_));
        }
        put_bytes(out, field.number, packed);
      } else if (!put_packed(packed, field.kind, element)) {
        return false;
      }
      pointer_.resize(size_before);
    }
    if (field.kind != messages && field.kind != items) put_bytes(out, field.number, packed);
    return true;
  }

  bool put_packed(std::string& out, OtlpKind kind, dom::element value) {
    if (kind == numbers) {
      const auto found = number_of(value);
      if (!found) return fail(value, "a number");
      put_fixed(out, std::bit_cast<std::uint64_t>(*found), 8);
      return true;
    }
    const auto found = integer_of(value);
    if (!found) return fail(value, "an integer");
    if (kind == fixed64s) {
      put_fixed(out, *found, 8);
    } else {
      put_varint(out, *found);
    }
    return true;
  }

  std::vector<Fault>& item_faults_;
  Fault& fault_;
  std::string pointer_;
};

}  // namespace

const OtlpMessage kOtlpMetricsRequest{kMetricsRequestFields};
const OtlpMessage kOtlpLogsRequest{kLogsRequestFields};

bool append_protobuf(std::string& out, const OtlpMessage& message, dom::element json,
                     std::vector<Fault>& item_faults, Fault& fault) {
  return Transcoder(item_faults, fault).put_message(out, message, json);
}

}  // namespace ephor::host
