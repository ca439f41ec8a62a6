// SPDX-License-Identifier: Apache-2.0
//
// The frame that OTLP metrics and logs share: resources, below them scopes, below them entries.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <ephor/protobuf.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/json_fault.hpp"
#include "ingest/made_events.hpp"
#include "ingest/otlp_schema.hpp"
#include "ingest/otlp_values.hpp"

namespace ephor::host {

// Appended to a pointer: "/name/index".
inline void add_pointer(std::string& pointer, std::string_view name, std::size_t index) {
  (((pointer += '/') += name) += '/') += std::to_string(index);
}

// Calls `entry(message, scope, pointer)` for each Metric or scope's log records, in their order;
// it answers false to end the reading. `names`: of the members, such as resourceMetrics,
// scopeMetrics and metrics. Resource and scope are found first, wherever they stand in their
// message. Answers where the body is damaged; empty: it is not.
template <typename Entry>
std::string for_each_entry(std::string_view body, const std::string_view (&names)[3],
                           Entry&& entry) {
  OtlpScope scope;
  std::string pointer;
  ProtoReader request(body);
  for (std::size_t resource = 0; request.next();) {
    if (!request.is(1, WireType::bytes)) continue;
    pointer.clear();
    add_pointer(pointer, names[0], resource++);
    const std::size_t resource_size = pointer.size();
    ProtoReader finding(request.bytes());
    scope.resource.clear();
    scope.service.clear();
    while (finding.next()) {
      if (finding.is(1, WireType::bytes) && !read_resource(finding.bytes(), scope)) {
        return pointer + "/resource";
      }
    }
    if (!finding.ok()) return pointer;
    ProtoReader scopes(request.bytes());
    for (std::size_t at = 0; scopes.next();) {
      if (!scopes.is(2, WireType::bytes)) continue;
      pointer.resize(resource_size);
      add_pointer(pointer, names[1], at++);
      const std::size_t scope_size = pointer.size();
      ProtoReader scope_finding(scopes.bytes());
      scope.name.clear();
      scope.version.clear();
      scope.attributes.clear();
      while (scope_finding.next()) {
        if (scope_finding.is(1, WireType::bytes) && !read_scope(scope_finding.bytes(), scope)) {
          return pointer + "/scope";
        }
      }
      if (!scope_finding.ok()) return pointer;
      ProtoReader entries(scopes.bytes());
      for (std::size_t number = 0; entries.next();) {
        if (!entries.is(2, WireType::bytes)) continue;
        pointer.resize(scope_size);
        add_pointer(pointer, names[2], number++);
        if (!entry(entries.bytes(), static_cast<const OtlpScope&>(scope), pointer)) return pointer;
      }
    }
  }
  if (request.ok()) return {};
  return "/" + std::string(names[0]);
}

// The index of the fault that stands for an item, if it is one.
inline const Fault* fault_of_item(std::string_view item, const std::vector<Fault>& faults) {
  if (faults.empty()) return nullptr;
  ProtoReader in(item);
  if (!in.next() || !in.is(kOtlpFaultField, WireType::varint)) return nullptr;
  return in.varint() < faults.size() ? &faults[in.varint()] : nullptr;
}

// OTLP/JSON as protobuf. False: the body is rejected as a whole.
inline bool transcode(std::string& out, const OtlpMessage& request, std::string_view body,
                      std::uint32_t depth_max, std::vector<Fault>& item_faults,
                      MadeEventSink& sink) {
  simdjson::dom::parser parser;
  if (parser.allocate(body.size() + 1, depth_max) != simdjson::SUCCESS) throw std::bad_alloc();
  simdjson::dom::element root;
  Fault fault;
  const auto error = parser.parse(body.data(), body.size(), false).get(root);
  if (error != simdjson::SUCCESS) {
    sink.reject(1, json_fault(body, depth_max, simdjson::error_message(error)));
    return false;
  }
  if (append_protobuf(out, request, root, item_faults, fault)) return true;
  sink.reject(1, std::move(fault));
  return false;
}

}  // namespace ephor::host
