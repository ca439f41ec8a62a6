// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace ephor::host {

// What SQLite finds wrong with the structure of a database that exists, at most `count_max` faults;
// empty: nothing. Quick leaves out whether indices agree with their tables. Reads the whole file.
std::vector<std::string> find_faults(const std::filesystem::path& file, bool is_quick,
                                     int count_max);

// Copies a database as it is at one instant while others write to it; only pages are copied, so
// damage is too. HostError if either cannot be opened or written.
void copy_database(const std::filesystem::path& from, const std::filesystem::path& to);

// One number of a read-only SELECT; `otherwise` if there is no row. Throws HostError.
std::int64_t ask_database(const std::filesystem::path& file, const std::string& sql,
                          std::int64_t otherwise);

}  // namespace ephor::host
