// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <nlohmann/json_fwd.hpp>

#include "core/plugin_loader.hpp"

namespace ephor::host::isolation {

// What the plugin in `file` says of itself, asked in a process of its own (`ephor-runner
// --describe`) so that its code never runs in this one: `info->create` fails. Kept until this
// process ends; a file that has not changed is asked once. Takes as long as loading the library, at
// most 10 s. Throws HostError with the reasons of PluginLoader::load_file, or how the process
// ended. [any]
LoadedPlugin describe_plugin(const std::filesystem::path& file);

// The same of what is known already, from the file's note: the members of `told` are those that
// ephor-runner prints. Kept until this process ends. Throws nlohmann::json::exception. [any]
LoadedPlugin plugin_told(const std::filesystem::path& file, const nlohmann::json& told);

}  // namespace ephor::host::isolation
