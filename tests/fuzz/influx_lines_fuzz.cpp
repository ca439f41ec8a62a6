// SPDX-License-Identifier: Apache-2.0
//
// Bodies of Influx lines. The first byte chooses the precision of times, the rest is the body.
#include "signals.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  const auto precision = static_cast<std::uint32_t>(input.number(1) & 3);
  ephor::fuzz::admit_signals(input.rest(), EPHOR_FORMAT_INFLUX_NS + precision,
                             "ephor.metric_batch");
  return 0;
}
