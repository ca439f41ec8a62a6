// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "core/plugin_life.hpp"

namespace ephor::host::isolation {

// Makes the plugin object in a process of its own (ephor-runner), with the limits of `settings`.
// Its table forwards every call, and every call of the plugin to `host` comes back here. When the
// process ends, whatever waits for it returns EPHOR_IO with what `loss` says, within milliseconds;
// after that every call fails at once, and the rest of the life is its destructor. [control] Throws
// HostError with the plugin's own words, or why there is no process. `host` and what it leads to
// outlive it; no call may be in the table any more when it is destroyed, but for queries.
std::unique_ptr<PluginLife> make_process_life(const InstanceSettings& settings,
                                              const ephor_host& host);

}  // namespace ephor::host::isolation
