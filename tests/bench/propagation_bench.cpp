// SPDX-License-Identifier: Apache-2.0
//
// What ephor/propagation.hpp costs a trading cycle of 20 ms in C++: one request read and continued,
// five spans below it, each injected into a call. Part of `script/bench client`. Prints one JSON
// object.
#include <chrono>
#include <cstdio>
#include <ephor/propagation.hpp>

namespace {

namespace propagation = ephor::propagation;

// Bytes written, so that nothing of it can be left out.
std::size_t cycle(const propagation::HeaderList& received) {
  std::size_t bytes = 0;
  const propagation::Context mine = propagation::continue_from(propagation::extract(received));
  for (int i = 0; i < 5; ++i) {
    propagation::inject(propagation::child_of(mine), [&](std::string_view name, std::string value) {
      bytes += name.size() + value.size();
    });
  }
  return bytes;
}

}  // namespace

int main() {
  constexpr int kCycles = 200'000;
  propagation::HeaderList received;
  received.add("Host", "localhost");
  received.add("traceparent", "00-12345678901234567890123456789012-1234567890123456-01");
  received.add("tracestate", "foo=1,bar=2");
  received.add("baggage", "account=main,strategy=trend%20following");
  received.add("X-Correlation-ID", "ares-1795335772005-1-23303d7c");
  std::size_t bytes = 0;
  for (int i = 0; i < kCycles / 10; ++i) bytes += cycle(received);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kCycles; ++i) bytes += cycle(received);
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  const double each = taken.count() / kCycles;
  std::printf("{\"cpp_cycle_us\": %.4f, \"cpp_share_of_20ms_percent\": %.6f, \"cpp_bytes\": %zu}\n",
              each, each / 20'000 * 100, bytes / (kCycles + kCycles / 10));
}
