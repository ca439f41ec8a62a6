// SPDX-License-Identifier: Apache-2.0
//
// What ephor.storage/1 stands on: the plugins' tables, and for every instance its rows, its state
// and how far it has read, saved in one transaction.
//
// One writer, used under a lock; selects run on a pool of read-only connections. A lost database
// connection is opened again by the next call.
#pragma once

#include <ephor/abi.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "event/error.hpp"
#include "store/checkpoint.hpp"
#include "store/journal.hpp"

namespace ephor::host {

struct StorageOptions {
  std::filesystem::path directory;  // of ephor.db
  // Empty: SQLite in `directory`. postgresql://user@host:port/name?..., or
  // postgresql://dbname=... host=... .
  std::string url;
  // What is lost here is derived again from the journal, so `full` is rarely worth its price.
  Durability durability = Durability::normal;
  unsigned readers_max = 4;
  // Also how long a select waits for a free connection.
  std::chrono::milliseconds select_timeout{30'000};
  bool read_only = false;
};

struct SavedState {
  std::string plugin_version;
  std::uint32_t state_version = 0;
  std::string state;
  std::uint64_t sequence = 0;
  std::uint64_t generation = 0;
  std::string epoch;
  std::int64_t saved_at_ns = 0;
};

struct InstancePosition {
  std::string instance;
  std::uint64_t sequence = 0;
  std::uint64_t generation = 0;
  std::int64_t saved_at_ns = 0;
};

// Thread-safe. Every failure is a HostError that names the place.
class Storage {
 public:
  explicit Storage(const StorageOptions& options);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // Makes what is missing of the declared tables; declaring the same again is nothing.
  // EPHOR_INVALID: a wrong declaration. EPHOR_CONFLICT: a table belongs to another instance (named)
  // or to nobody Ephor knows, or exists with another key or column type; nothing is changed then.
  void declare(const std::string& instance, std::string_view tables_json);

  // The host's own and all that was declared in this process, by name.
  std::vector<std::shared_ptr<const Table>> tables() const;

  // Empty, for the tables `instance` has declared so far.
  Checkpoint checkpoint(const std::string& instance) const;

  // Writes rows, state and position in one transaction. EPHOR_STATE if a newer generation of the
  // instance was made: the caller is a leftover and must stop.
  void commit(const Checkpoint& checkpoint);
  // Several in one transaction. A checkpoint that fails is left out and the others are kept; a
  // failure of the database itself fails all. One element per checkpoint, empty: saved.
  std::vector<std::optional<HostError>> commit(std::span<const Checkpoint* const> checkpoints);

  // Empty if nothing was ever saved.
  std::optional<SavedState> load(const std::string& instance);
  // Makes this process the owner of the instance: older generations cannot commit any more.
  std::uint64_t next_generation(const std::string& instance);
  // Forgets rows, state and position before the instance is rebuilt from the journal; its tables,
  // which it must have declared, and its generation stay.
  void reset(const std::string& instance);
  // Of every instance that ever saved, by name.
  std::vector<InstancePosition> instances();

  // One SELECT (or WITH) over committed rows. `?` marks a parameter. The cells' views die with the
  // visit; a visitor's status other than OK ends it. EPHOR_INVALID: not one SELECT, wrong SQL or
  // number of parameters. EPHOR_DENIED: it would write. EPHOR_TIMEOUT.
  using RowVisitor = std::function<ephor_status(std::span<const ephor_cell> cells)>;
  void select(std::string_view sql, std::span<const ephor_cell> parameters,
              const RowVisitor& visitor);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ephor::host
