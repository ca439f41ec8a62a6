// SPDX-License-Identifier: Apache-2.0
#include "core/data_opening.hpp"

#include <algorithm>

#include "core/event_log.hpp"
#include "core/gap_ledger.hpp"
#include "core/logger.hpp"
#include "event/error.hpp"
#include "store/damage_mark.hpp"
#include "store/database_check.hpp"
#include "store/journal_recovery.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

// Reading all of a small store takes less than one notices; a large one is read only on suspicion.
constexpr std::uint64_t kCheckedBytesMax = 64U << 20;

// The first fault that SQLite finds in a file; empty: none.
std::string fault_in(const fs::path& file) {
  const std::vector<std::string> faults = find_faults(file, true, 1);
  return faults.empty() ? std::string() : faults[0];
}

void recover(const fs::path& data_dir, const std::string& why) {
  log(EPHOR_LOG_ERROR, kHostName, why + "; recovering what its pages hold");
  const Recovery recovery = recover_journal(data_dir, wall_clock_ns());
  log(EPHOR_LOG_WARNING, kHostName,
      "journal: recovered " + std::to_string(recovery.batches) + " batches with " +
          std::to_string(recovery.events) + " events; the damaged file is " +
          recovery.set_aside.string());
  for (const JournalGap& gap : recovery.gaps) {
    log(EPHOR_LOG_ERROR, kHostName, "journal gap: " + described_gap(gap));
  }
}

void set_storage_aside(const fs::path& file, const std::string& why) {
  const fs::path aside = set_aside(file, wall_clock_ns());
  log(EPHOR_LOG_WARNING, kHostName,
      why + "; it is now " + aside.string() +
          ", and rows and states are derived again from the journal");
}

}  // namespace

std::unique_ptr<SqliteJournal> open_journal(const fs::path& data_dir,
                                            const SqliteJournalOptions& options) {
  if (options.read_only) return std::make_unique<SqliteJournal>(data_dir, options);
  finish_recovery(data_dir);
  const fs::path file = data_dir / "journal.db";
  if (const auto mark = damage_mark(file); mark && fs::exists(file)) {
    const std::string fault = fault_in(file);
    if (!fault.empty()) {
      recover(data_dir, file.string() + ": damaged: " + fault);
    } else {
      clear_damage_mark(file);
    }
  }
  try {
    return std::make_unique<SqliteJournal>(data_dir, options);
  } catch (const DamageError& damage) {
    recover(data_dir, damage.what());
  }
  return std::make_unique<SqliteJournal>(data_dir, options);
}

std::unique_ptr<Storage> open_storage(const StorageOptions& options, bool must_rebuild) {
  if (!options.url.empty() || options.read_only) return std::make_unique<Storage>(options);
  const fs::path file = options.directory / "ephor.db";
  std::error_code absent;
  const std::uint64_t size = fs::file_size(file, absent);
  if (!absent && must_rebuild) {
    set_storage_aside(file, file.string() + ": a rebuild was asked for");
  } else if (!absent && (size <= kCheckedBytesMax || damage_mark(file))) {
    const std::string fault = fault_in(file);
    if (!fault.empty()) {
      set_storage_aside(file, file.string() + ": damaged: " + fault);
    } else {
      clear_damage_mark(file);
    }
  }
  try {
    auto storage = std::make_unique<Storage>(options);
    storage->instances();
    return storage;
  } catch (const DamageError& damage) {
    set_storage_aside(file, damage.what());
  }
  return std::make_unique<Storage>(options);
}

void reconcile(SqliteJournal& journal, Storage& storage, DescriberPool& describers) {
  std::uint64_t last = 0;
  std::string who;
  for (const InstancePosition& saved : storage.instances()) {
    if (position_of(saved.sequence) <= last) continue;
    last = position_of(saved.sequence);
    who = saved.instance;
  }
  if (last > journal.last_position()) {
    const std::string why = "lost: " + who + " has read up to position " + std::to_string(last) +
                            ", the journal ends at " + std::to_string(journal.last_position());
    log(EPHOR_LOG_ERROR, kHostName, "journal gap: " + why);
    journal.reserve_through(last, why, wall_clock_ns());
  }
  if (!journal.is_index_complete()) {
    log(EPHOR_LOG_WARNING, kHostName, "journal: building the index of ids anew");
    const auto describer = describers.lend();
    journal.reindex([&](const StoredBatch& batch) { return join_keys_of(batch, *describer); });
  }
}

}  // namespace ephor::host
