// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include <nlohmann/json.hpp>

#include "otlp_trace.pb.h"

namespace ephor::oracle {

using Json = nlohmann::ordered_json;

// Random requests, the same for a seed on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::uint64_t number() { return engine_(); }

  ExportTraceServiceRequest request();
  std::string text();  // UTF-8, of any length up to some hundred bytes
  std::string bytes(std::size_t size);

 private:
  void fill(AnyValue& value, int depth);
  void fill(KeyValue& attribute);
  void fill(Resource& resource);
  void fill(Scope& scope);
  void fill(Span& span);

  std::mt19937_64 engine_;
};

// The request as OTLP/JSON, spelled in one of the ways that protobuf's JSON allows.
Json to_json(const ExportTraceServiceRequest& request, Random& random);

}  // namespace ephor::oracle
