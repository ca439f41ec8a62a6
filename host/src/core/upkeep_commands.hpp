// SPDX-License-Identifier: Apache-2.0
//
// The commands that look after the data: backup, restore, journal verify|stat|export.
#pragma once

#include "core/options.hpp"

namespace ephor::host {

// Each returns the exit code. Throws HostError.
int backup_command(const Options& options);
int restore_command(const Options& options);
int journal_command(const Options& options);

}  // namespace ephor::host
