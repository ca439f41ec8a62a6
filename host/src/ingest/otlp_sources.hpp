// SPDX-License-Identifier: Apache-2.0
//
// The interned sources of OTLP spans: {"resource":{attributes},"scope":{"name":..,"version":..,
// "attributes":{..}}}, the same text whether the request was protobuf or JSON.
//
// Names are kept for the life of the process, so what a client can make it keep is bounded. Of a
// text above `otlp_source_bytes_max`, and of any new one once half of `otlp_sources_max` or
// `otlp_source_memory_bytes` is used, only what identifies the service is kept; at three quarters
// only service name and scope name; at the end all further ones share one source. Each such case is
// counted. The journal stores the texts, so a replay sees what the live run saw.
#pragma once

#include <ephor/otlp.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "event/hash.hpp"
#include "event/interner.hpp"
#include "ingest/ingest_config.hpp"

namespace ephor::host {

// What a span needs of its resource and scope.
struct OtlpSource {
  std::uint32_t number = 0;
  Hash128 identity;               // hash128 of its CloudEvents source, which names the service
  std::uint64_t correlation = 0;  // of the resource; 0: it has none
};

// From what the source's text says.
OtlpSource otlp_source_of(std::uint32_t number, std::string_view text);

// One per door. [any]
class OtlpSources {
 public:
  // `config` and `names` outlive it.
  OtlpSources(const IngestConfig& config, Names& names) : config_(config), names_(names) {}

  // `resources` and `scopes`: the messages of the one field, of which protobuf allows several: they
  // are one. The messages must be sound.
  OtlpSource of(const std::vector<std::string_view>& resources,
                const std::vector<std::string_view>& scopes);

  // Sources of which not all was kept.
  std::uint64_t reduced() const { return reduced_.load(std::memory_order_relaxed); }

 private:
  std::uint32_t intern(const std::vector<std::string_view>& resources,
                       const std::vector<std::string_view>& scopes, std::string& text);
  bool has_room(std::string_view text, unsigned quarters, std::uint32_t& number);

  const IngestConfig& config_;
  Names& names_;
  std::mutex mutex_;  // guards known_ and bytes_
  std::unordered_set<std::uint32_t> known_;
  std::uint64_t bytes_ = 0;
  std::atomic<std::uint64_t> reduced_{0};
};

// A worker's memory of the sources it met lately: one hash and one look-up for each scope.
class OtlpSourceCache {
 public:
  explicit OtlpSourceCache(OtlpSources& sources) : sources_(sources) {}
  const OtlpSource& of(const std::vector<std::string_view>& resources,
                       const std::vector<std::string_view>& scopes);

 private:
  struct Entry {
    Hash128 key;
    OtlpSource source;
    bool is_used = false;
  };
  OtlpSources& sources_;
  std::array<Entry, 256> entries_;  // direct-mapped
};

}  // namespace ephor::host
