// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/options.hpp"

namespace ephor::host {

// `ephor top`: what runs, how far behind it is, what it loses and what it costs. Looks every
// --interval seconds until SIGINT, once with --once; --json prints the host's own answer. Returns
// the exit code; throws HostError if no host runs.
int top_command(const Options& options);

// The table of one look, at most 100 columns wide. `status` is Host::status_json().
std::string top_table(const nlohmann::json& status);

}  // namespace ephor::host
