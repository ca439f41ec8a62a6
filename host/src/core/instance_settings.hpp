// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/faults.hpp"
#include "core/plugin_loader.hpp"

namespace ephor::host {

enum class Isolation { in_process, process };

// Of a plugin in a process of its own. 0: no limit.
struct ProcessLimits {
  std::uint64_t memory_bytes = 0;  // resident
  std::uint32_t open_files = 0;
  friend bool operator==(const ProcessLimits&, const ProcessLimits&) = default;
};

// One configured instance.
struct InstanceSettings {
  std::string name;
  LoadedPlugin plugin;
  std::string config_json;  // has passed the schema, defaults filled in
  Isolation isolation = Isolation::in_process;
  ProcessLimits limits;
  FaultSettings faults;
  friend bool operator==(const InstanceSettings&, const InstanceSettings&) = default;
};

}  // namespace ephor::host
