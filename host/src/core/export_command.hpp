// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/options.hpp"

namespace ephor::host {

// `ephor export --canonical`: from the host that runs on the data directory, or from its files.
int export_command(const Options& options);

// `ephor diff A B`: exports, or data directories, which are exported first. 0 equal, 1 different.
int diff_command(const Options& options);

}  // namespace ephor::host
