// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace ephor::host::check {

// Runs one check in this process and leaves what came of it in descriptor 3, a file of memory: the
// step in hand in its first StepBoard::kBytes, behind them the result as JSON. Descriptor 4 takes
// all that is printed. `order`: JSON of file, directory, seed, config and memory_bytes. Never
// returns: nothing of the plugin is torn down by the end of the process.
[[noreturn]] void run_child(std::string_view check, std::string_view order);

}  // namespace ephor::host::check
