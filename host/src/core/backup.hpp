// SPDX-License-Identifier: Apache-2.0
//
// One archive of a data directory, made while its host runs or without one, and the way back.
//
// The storage is copied before the journal: whatever a saved position covers was in the journal
// before it was saved, so the journal's copy has it. Readers then go on behind their positions.
#pragma once

#include <filesystem>
#include <mutex>
#include <string>

#include <nlohmann/json.hpp>

namespace ephor::host {

struct BackupSource {
  std::filesystem::path data_dir;
  // Rows and states on a server are its own backup's affair; the archive has the journal then, from
  // which they can be derived again.
  bool has_storage_file = true;
  std::int64_t now_ns = 0;
};

// Writes `file`; the manifest. Needs room for a copy of the databases beside `file` meanwhile.
// `still` keeps retention away until the databases are copied, and is released then. HostError.
nlohmann::json make_backup(const BackupSource& source, const std::filesystem::path& file,
                           std::unique_lock<std::mutex> still);

// Unpacks and checks `file` beside `into`, then renames: `into` is whole or not there. It must be
// absent or empty. The manifest. HostError EPHOR_CONFLICT, EPHOR_INVALID: what is wrong with it.
nlohmann::json restore_backup(const std::filesystem::path& file, const std::filesystem::path& into);

}  // namespace ephor::host
