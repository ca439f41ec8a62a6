// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/options.hpp"

namespace ephor::host {

// Runs one command and returns its exit code: 0, 1 run-time failure, 2 usage or configuration.
int run_command_line(const Options& options);

}  // namespace ephor::host
