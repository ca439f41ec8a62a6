// SPDX-License-Identifier: Apache-2.0
//
// FILE.damaged: a note that pages of a database were found damaged while it was in use. The next
// start looks at the whole file before it trusts it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace ephor::host {

// Best effort: where nothing can be written, the damage will be met again.
void mark_as_damaged(const std::filesystem::path& file, const std::string& what) noexcept;
// What was noted; empty: nothing.
std::optional<std::string> damage_mark(const std::filesystem::path& file);
void clear_damage_mark(const std::filesystem::path& file) noexcept;

// Renames the database with its -wal and -shm to FILE.damaged-TIME (UTC, to the second) and clears
// the mark. The new name. Throws HostError.
std::filesystem::path set_aside(const std::filesystem::path& file, std::int64_t now_ns);

}  // namespace ephor::host
