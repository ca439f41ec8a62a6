// SPDX-License-Identifier: Apache-2.0
//
// An ExportTraceServiceRequest in protobuf. The first byte chooses the bounds, the rest is the
// body.
#include "otlp_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ephor::fuzz::run(data, size, EPHOR_FORMAT_OTLP_TRACES);
}
