// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace ephor::reporter {

// Whole or not at all, and on the disk when it returns: a temporary name beside it, fsync, rename,
// fsync of the folder. Makes the folder. Throws Error(EPHOR_IO).
void write_file(const std::filesystem::path& file, std::string_view bytes);

// Throws Error(EPHOR_NOT_FOUND).
std::string read_file(const std::filesystem::path& file);

std::string sha256_hex(std::string_view bytes);

}  // namespace ephor::reporter
