// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::check {

// `ephor plugin check` with the words behind it. `find` gives the file of a plugin's id. Prints the
// report; 0: nothing failed, 1: something did. Throws HostError EPHOR_INVALID for wrong words.
int plugin_check_command(const std::vector<std::string>& words,
                         const std::function<std::filesystem::path(std::string_view)>& find);

}  // namespace ephor::host::check
