// SPDX-License-Identifier: Apache-2.0
//
// Making the best of a damaged journal.db: every batch that is still whole, found page by page,
// goes into a new file under its old position; what is missing becomes recorded gaps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "store/journal.hpp"

namespace ephor::host {

struct Recovery {
  std::filesystem::path set_aside;  // where the damaged file is now
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::vector<JournalGap> gaps;  // those that are new
};

// DIRECTORY/journal.db, which nobody has open. Accepts any bytes. The join index of the new file is
// empty: SqliteJournal::is_index_complete() is false until it is built anew. Throws HostError if
// files cannot be read, written or renamed; the damaged file is in its place then.
Recovery recover_journal(const std::filesystem::path& directory, std::int64_t now_ns);

// Puts the new file in its place if the process ended between the last two steps. Before opening.
void finish_recovery(const std::filesystem::path& directory);

// True if the scanned row is a batch that can be decoded whole.
struct ScannedRow;
bool is_whole_batch(const ScannedRow& row);

}  // namespace ephor::host
