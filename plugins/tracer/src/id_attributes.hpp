// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/events.hpp>
#include <utility>

#include "trace_summary.hpp"

namespace ephor::tracer {

// Calls `visit(IdKind, const AttributeValue&)` for the attributes of a span that name one. Names
// come first: making a value of every attribute would cost more than the rest of
// what is done with it.
template <typename Visit>
void for_each_id_attribute(const Span& span, Visit&& visit) {
  if (span.otlp_record.empty()) {
    simdjson::dom::object object;
    if (!span.attributes || span.attributes->get(object) != simdjson::SUCCESS) return;
    for (const auto& [name, value] : object) {
      if (const auto kind = id_kind_of(name)) visit(*kind, AttributeValue::of(value));
    }
    return;
  }
  ProtoReader in(span.otlp_record);
  while (in.next()) {
    if (!in.is(otlp::kSpanAttributes, WireType::bytes)) continue;
    const std::string_view message = in.bytes();
    ProtoReader attribute(message);
    if (!attribute.next() || !attribute.is(1, WireType::bytes)) continue;
    const auto kind = id_kind_of(attribute.bytes());
    if (!kind) continue;
    visit(*kind, AttributeValue::of(otlp::value_of(otlp::key_value_of(message).value)));
  }
}

}  // namespace ephor::tracer
