// SPDX-License-Identifier: Apache-2.0
//
// Looking at every byte of a journal, beside a running host or without one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "store/journal.hpp"

namespace ephor::host {

struct JournalFault {
  std::uint64_t position = 0;  // 0: not of one batch
  std::string place;           // "journal.db byte 8192"; empty: not known
  std::string what;
};

struct JournalCheck {
  std::uint64_t batches = 0;  // read whole
  std::uint64_t events = 0;
  std::vector<JournalGap> gaps;
  std::vector<JournalFault> faults;
};

// The distinct join keys of a batch, sorted, as they were given to the index.
using KeysOf = std::function<std::vector<std::uint64_t>(const StoredBatch&)>;

// Reads DIRECTORY/journal.db in one read transaction. Says: what SQLite finds wrong with the file;
// batches that cannot be read or decoded, whose facts disagree with their records, or that are
// missing without a recorded gap; totals that disagree; join keys the index does not have. A fault
// is never thrown; HostError EPHOR_NOT_FOUND if there is no such file. Memory: 8 bytes an entry of
// the index.
JournalCheck check_journal(const std::filesystem::path& directory, const KeysOf& keys_of);

}  // namespace ephor::host
