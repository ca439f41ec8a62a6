// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/options.hpp"

namespace ephor::host {

// `ephor plugin VERB ...`: looks the verb up in the table of plugin_commands.cpp. Returns the exit
// code. Throws HostError.
int plugin_command(const Options& options);

// The verbs' lines of `ephor --help`.
std::string plugin_usage();

}  // namespace ephor::host
