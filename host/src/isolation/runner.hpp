// SPDX-License-Identifier: Apache-2.0
//
// The process an isolated plugin lives in: it loads the library, gives the plugin an ephor_host
// whose functions ask the real host, and answers what that asks. It ends when the host does.
#pragma once

#include <filesystem>

namespace ephor::host::isolation {

// Serves on the descriptors the host handed down (3: socket, 4: shared memory) until the host has
// gone. Never returns.
[[noreturn]] void serve_plugin();

// Writes the description of the plugin in `file` to `output` as one JSON object; where it cannot be
// loaded, {"error": {"status", "message"}}.
void describe_to(int output, const std::filesystem::path& file);

}  // namespace ephor::host::isolation
