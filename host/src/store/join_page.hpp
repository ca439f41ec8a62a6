// SPDX-License-Identifier: Apache-2.0
//
// How a page of the join index lies on disk: n keys (u64), then n offsets from the run's first
// position (u32), little endian.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "store/join_index.hpp"

namespace ephor::host {

// 330 entries fill one 4096-byte database page without overflow.
inline constexpr std::size_t kPageEntries = 330;
// Runs of about one size that become one.
inline constexpr std::size_t kMergedRuns = 8;

inline std::string join_page_bytes(const std::vector<JoinIndex::Pages::Entry>& entries) {
  std::string bytes(entries.size() * (sizeof(std::uint64_t) + sizeof(std::uint32_t)), '\0');
  char* const keys = bytes.data();
  char* const offsets = keys + entries.size() * sizeof(std::uint64_t);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    std::memcpy(keys + i * sizeof(std::uint64_t), &entries[i].key, sizeof(std::uint64_t));
    std::memcpy(offsets + i * sizeof(std::uint32_t), &entries[i].offset, sizeof(std::uint32_t));
  }
  return bytes;
}

}  // namespace ephor::host
