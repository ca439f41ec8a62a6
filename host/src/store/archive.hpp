// SPDX-License-Identifier: Apache-2.0
//
// One file of many: a tar archive in a zstd frame, as `tar --zstd` reads and writes it. Regular
// files under relative names only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ephor::host {

struct ArchiveMember {
  std::string name;  // relative, '/' between folders, at most 100 bytes
  std::filesystem::path file;
  std::uint64_t size = 0;
};

// Writes FILE.partial, forces it onto the disk and renames it: FILE is whole or not there. A member
// that changes its size meanwhile is a HostError.
void write_archive(const std::filesystem::path& file, const std::vector<ArchiveMember>& members);

// Unpacks into a directory that exists. Trusts nothing: HostError EPHOR_INVALID for what is no such
// archive, for names that lead elsewhere, and for a file cut short.
void unpack_archive(const std::filesystem::path& file, const std::filesystem::path& into);

// XXH3-128 of a file's bytes, 32 hex digits as `xxhsum -H2` prints them.
std::string file_hash(const std::filesystem::path& file);

}  // namespace ephor::host
