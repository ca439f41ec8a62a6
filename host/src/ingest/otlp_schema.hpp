// SPDX-License-Identifier: Apache-2.0
//
// The messages of OTLP metrics and logs (opentelemetry-proto 1.x) as data, and OTLP/JSON read into
// the same bytes that protobuf clients send, so that both go one way from there.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/fault.hpp"

namespace ephor::host {

enum class OtlpKind : std::uint8_t {
  text,
  base64,
  hex,  // trace and span ids
  boolean,
  varint,   // uint32, uint64, int64 and enums
  zigzag,   // sint32
  fixed64,  // also sfixed64
  fixed32,
  number,    // double
  numbers,   // repeated double, packed
  fixed64s,  // repeated fixed64, packed
  varints,   // repeated uint64, packed
  message,
  messages,  // repeated
  items,     // repeated messages of which one that is wrong is rejected alone
};

struct OtlpMessage;

struct OtlpField {
  std::string_view name;  // lowerCamelCase
  std::uint32_t number = 0;
  OtlpKind kind = OtlpKind::text;
  const OtlpMessage* message = nullptr;
  std::span<const std::string_view> names = {};  // of an enum, from 0
};

struct OtlpMessage {
  std::span<const OtlpField> fields;
};

extern const OtlpMessage kOtlpMetricsRequest;
extern const OtlpMessage kOtlpLogsRequest;

// An item that could not be read has this field alone: the index of its fault.
inline constexpr std::uint32_t kOtlpFaultField = (1U << 29U) - 1;

// Appends the message as protobuf. False: `fault` says why the body is none. Items that are wrong
// are in `item_faults`.
bool append_protobuf(std::string& out, const OtlpMessage& message, simdjson::dom::element json,
                     std::vector<Fault>& item_faults, Fault& fault);

}  // namespace ephor::host
