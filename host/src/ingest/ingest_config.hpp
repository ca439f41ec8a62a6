// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

class BareMapping;

// The `ingest` section of the configuration.
struct IngestConfig {
  std::int64_t assumed_offset_ns = 0;  // zone of naive times, ahead of UTC (assume_timezone)
  std::int64_t future_skew_ns = 300'000'000'000;  // later times are clamped (future_skew_s)
  std::uint32_t depth_max = 64;                   // nesting of one record (depth_max)
  std::uint32_t record_bytes_max = 1U << 20;      // (record_bytes_max)
  // Of one span, its events and links (otlp.attributes_max); a map in a value has as many at most.
  std::uint32_t otlp_attributes_max = 1024;
  std::uint32_t otlp_fields_max = 20'000;         // protobuf fields of one span (otlp.fields_max)
  std::uint32_t otlp_text_bytes_max = 256 << 10;  // one name, key or value (otlp.text_bytes_max)
  // Text of one resource with its scope (otlp.source_bytes_max), how many of them are kept
  // (otlp.sources_max) and their bytes in all (otlp.source_memory_bytes).
  std::uint32_t otlp_source_bytes_max = 8192;
  std::uint32_t otlp_sources_max = 10'000;
  std::uint64_t otlp_source_memory_bytes = 16U << 20;
  // Extension attributes, data members and attributes of spans whose text is a join key
  // (join_attributes; what is given replaces the default).
  std::vector<std::string> join_attributes{"prediction_id"};
  // How records without specversion become events (bare_records: replaces single types of the
  // default table; a type mapped to null is refused). Never null.
  std::shared_ptr<const BareMapping> bare;

  IngestConfig();
};

// Reads the section; absent keys keep their defaults. Throws HostError with every fault in it,
// one a line: "<where>.<key>: found ..., expected ...".
IngestConfig ingest_config(const nlohmann::json& section, std::string_view where = "ingest");

// "UTC", "Z", "+02:00", "-0530" -> ns ahead of UTC. False on anything else, names of zones
// included.
bool parse_zone_offset(std::string_view text, std::int64_t& offset_ns);

}  // namespace ephor::host
