// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include <iostream>

#include "core/commands.hpp"
#include "core/options.hpp"
#include "event/error.hpp"

namespace {

// Batches of half a megabyte come and go all the time. By default glibc gives such memory back to
// the kernel at every other free and faults it in again: 5 to 10 % of a replay's CPU.
void keep_freed_memory() {
  constexpr int kMapBytes = 32 << 20;
  constexpr int kTrimBytes = 64 << 20;
  constexpr int kGrowBytes = 1 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kMapBytes);
  ::mallopt(M_TRIM_THRESHOLD, kTrimBytes);
  ::mallopt(M_TOP_PAD, kGrowBytes);
}

}  // namespace

int main(int argument_count, char** arguments) {
  keep_freed_memory();
  try {
    return ephor::host::run_command_line(ephor::host::read_options(argument_count, arguments));
  } catch (const ephor::host::HostError& failure) {
    std::cerr << "ephor: " << failure.what() << "\n";
    return 2;
  }
}
