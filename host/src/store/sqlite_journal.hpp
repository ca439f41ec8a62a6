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
  // Entries of the join index that are kept in memory before they become a run on disk.
  std::uint64_t index_run_entries = 262'144;
};

// DIRECTORY/journal.db, SQLite in WAL mode. One writer at a time (`append` serialises), readers on
// connections of their own.
class SqliteJournal final : public Journal {
 public:
  static constexpr std::int64_t kFormatVersion = 1;

  // Opens or makes the file. HostError EPHOR_UNSUPPORTED if a newer Ephor wrote it.
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
  std::vector<std::uint64_t> find(std::uint64_t key) const override;
  std::uint64_t last_position() const override;
  std::uint64_t oldest_position() const override;
  void load_recent_ids(std::uint64_t events_max, const IdsVisitor& visitor) const override;
  void remove_before(std::uint64_t position) override;
  JournalStats stats() const override;
  std::string id() const override;

  // A ceiling for the file (0: none); an append beyond it fails with EPHOR_FULL.
  void limit_file(std::uint64_t bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ephor::host
