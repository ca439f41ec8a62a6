// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "core/plugin_policy.hpp"

namespace ephor::host {

// The bytes of a plugin file as they were when read, which nobody writes to.
struct PluginCopy {
  std::filesystem::path file;  // PARENT/plugins-XXXXXX/HASH/NAME.so, readable by its owner only
  Sha256 hash;                 // of the bytes in it
};

// Copies the open file. The directory is this process's own, mode 0700; those that ended processes
// left in `parent` are removed. Throws HostError naming what cannot be written. [control]
PluginCopy copy_plugin(int descriptor, const std::filesystem::path& file,
                       const std::filesystem::path& parent);

// Removes every copy that this process made. Also done when it ends by returning from main.
void remove_copies();

}  // namespace ephor::host
