// SPDX-License-Identifier: Apache-2.0
//
// What a plugin shares with everybody in the process, looked at before and after it did something.
#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ephor::host::check {

// Open descriptors of this process and what each is: "socket:[123]", a path.
std::map<int, std::string> open_descriptors();
// Ids of the threads of this process.
std::vector<int> threads();
// Their number. A thread that was joined may still be seen for a moment: waits up to
// `patience_ms` for at most `wanted` of them.
std::size_t threads_after_wait(std::size_t wanted, int patience_ms);
// Processes that this one or its threads started and that still are.
std::vector<int> child_processes();
// Number and bytes of the mappings of this process.
struct Mappings {
  std::size_t count = 0;
  std::uint64_t bytes = 0;
};
Mappings mappings();
// Every file below `directory`, relative to it.
std::vector<std::string> files_below(const std::filesystem::path& directory);

// Each as text, so that a difference can be shown.
std::string environment_text();
std::string working_directory();
std::string locale_text();
// Rounding, exception masks, flush-to-zero and denormals-are-zero of this thread.
std::string floating_point_text();
std::string umask_text();
// Of each signal its number and what it does: "default", "ignored", "handler 0x..."; and the mask.
std::map<int, std::string> signal_handlers();
std::string signal_mask();

// The first lines in which two texts differ: "- old" and "+ new".
std::string difference(const std::string& before, const std::string& after);

}  // namespace ephor::host::check
