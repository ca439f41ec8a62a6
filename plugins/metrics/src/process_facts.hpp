// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tells of this process, the machine and a disk, when it is asked. Of the process,
// not of the log: never part of a replayed state.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <string>

namespace ephor::metrics {

// Keeps the last look, so that the CPU share of the time in between can be told.
class ProcessFacts {
 public:
  Json process();

 private:
  double last_cpu_s_ = 0.0;
  double last_at_s_ = 0.0;  // monotonic clock; 0: never
};

Json machine_facts();

// Free space of the file system and size of what is in `directory`, its parts by name.
Json disk_facts(const std::string& directory);

}  // namespace ephor::metrics
