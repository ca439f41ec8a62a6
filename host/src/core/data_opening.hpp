// SPDX-License-Identifier: Apache-2.0
//
// Opening a data directory that may have been damaged. Nothing is deleted: what cannot be used is
// set aside beside what replaces it, and the log says so.
#pragma once

#include <memory>

#include "core/log_reader.hpp"
#include "core/settings.hpp"
#include "store/sqlite_journal.hpp"
#include "store/storage.hpp"

namespace ephor::host {

// The journal; recovered first if it cannot be read or appended to, or if damage of its pages was
// noted while it was last in use. Throws HostError.
std::unique_ptr<SqliteJournal> open_journal(const std::filesystem::path& data_dir,
                                            const SqliteJournalOptions& options);

// The storage. A damaged ephor.db is set aside, and so is a sound one if `must_rebuild`: its rows
// and states are then derived again from the journal. Throws HostError.
std::unique_ptr<Storage> open_storage(const StorageOptions& options, bool must_rebuild);

// Repairs that need both, or the door: positions that the storage knows and the journal lost, and
// the journal's index after a recovery.
void reconcile(SqliteJournal& journal, Storage& storage, DescriberPool& describers);

}  // namespace ephor::host
