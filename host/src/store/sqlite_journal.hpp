// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "store/journal.hpp"

namespace ephor::host {

struct SqliteJournalOptions {
  Durability durability = Durability::full;
  // For a second process that looks at the data of a stopped host: nothing is created or written.
  bool read_only = false;
  // What the constructor tries first: that an append would find sound pages.
  bool must_probe = true;
  // Entries of the join index that are kept in memory before they become a run on disk.
  std::uint64_t index_run_entries = 262'144;
};

// DIRECTORY/journal.db, SQLite in WAL mode. One writer at a time (`append` serialises), readers on
// connections of their own.
class SqliteJournal final : public Journal {
 public:
  static constexpr std::int64_t kFormatVersion = 1;

  // Opens or makes the file. HostError EPHOR_UNSUPPORTED if a newer Ephor wrote it, DamageError if
  // it cannot be read or not be appended to: recover_journal() makes the best of that.
  explicit SqliteJournal(const std::filesystem::path& directory,
                         const SqliteJournalOptions& options = {});
  ~SqliteJournal() override;

  EncodedBatch encode(const Batch& batch) const override;
  using Journal::append;
  void append(std::span<Pending> group, std::string_view note) override;
  std::string note() const override;
  void sync() override;
  StoredBatch read(std::uint64_t position) const override;
  bool next(std::uint64_t from, StoredBatch& batch) const override;
  using Journal::find;
  std::vector<std::uint64_t> find(std::span<const std::uint64_t> keys) const override;
  std::uint64_t last_position() const override;
  std::uint64_t oldest_position() const override;
  void load_recent_ids(std::uint64_t events_max, const IdsVisitor& visitor) const override;
  void remove_before(std::uint64_t position) override;
  std::vector<JournalGap> gaps() const override;
  bool record_gap(const JournalGap& gap) override;
  JournalStats stats() const override;
  std::string id() const override;

  // One transaction of retention: whole batches from the start, as far as the limits allow; what
  // went is recorded as a gap. Takes milliseconds with the default limits.
  Removal remove_oldest(const RemovalLimits& limits, std::int64_t now_ns);

  // Says that positions up to `position` were given although the file ends before: what it lost
  // becomes a gap, and no position is given twice.
  void reserve_through(std::uint64_t position, std::string_view why, std::int64_t now_ns);

  // False after recover_journal, until `reindex` has been through: `find` misses older batches.
  bool is_index_complete() const;
  using KeysOf = std::function<std::vector<std::uint64_t>(const StoredBatch&)>;
  // Builds the join index anew; `keys_of` gives a batch's distinct join keys, sorted.
  void reindex(const KeysOf& keys_of);

  struct Size {
    std::uint64_t file_bytes = 0;  // of journal.db, without its log
    std::uint64_t free_bytes = 0;  // of it, to be used again
    std::uint64_t index_runs = 0;
    std::uint64_t removed_ids = 0;  // ids kept of removed batches
  };
  Size size() const;
  // One small step towards fewer index runs; false if there is nothing to do.
  bool merge_index_step();
  // When the oldest kept batch arrived; 0 if there is none.
  std::int64_t oldest_arrival_ns() const;

  // A ceiling for the file (0: none); an append beyond it fails with EPHOR_FULL.
  void limit_file(std::uint64_t bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ephor::host
