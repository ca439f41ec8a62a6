// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace ephor::host {

// User and system CPU time of the process so far.
double process_cpu_seconds();

// The greatest resident set of this program, and that of now; 0 if the kernel does not tell.
// (ru_maxrss of getrusage would count what the parent held before exec.)
std::uint64_t peak_resident_bytes();
std::uint64_t resident_bytes();

}  // namespace ephor::host
