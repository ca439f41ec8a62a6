// SPDX-License-Identifier: Apache-2.0
//
// Bodies of OTLP metrics. Bit 0 of the first byte: as JSON, else protobuf. The rest is the body.
#include "signals.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  const bool is_json = (input.number(1) & 1) != 0;
  ephor::fuzz::admit_signals(input.rest(),
                             is_json ? EPHOR_FORMAT_OTLP_METRICS_JSON : EPHOR_FORMAT_OTLP_METRICS,
                             "ephor.metric_batch");
  return 0;
}
