// SPDX-License-Identifier: Apache-2.0
//
// What differs between the databases behind Storage. Everything else is written once.
#pragma once

#include <ephor/abi.h>
#include <soci/soci.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/journal.hpp"
#include "store/table_schema.hpp"

namespace ephor::host {

struct ExistingColumn {
  std::string name;
  std::string type;         // as the database shows it
  unsigned key_number = 0;  // from 1 in the primary key, 0: not in it
};

// A status other than EPHOR_OK ends the visit.
using RowVisitor = std::function<ephor_status(std::span<const ephor_cell>)>;

class StorageBackend {
 public:
  virtual ~StorageBackend() = default;

  virtual std::unique_ptr<soci::session> open_writer() = 0;
  virtual std::unique_ptr<soci::session> open_reader() = 0;
  // For messages; holds no secret.
  virtual std::string description() const = 0;

  // For CREATE TABLE; `shown_as` is what ExistingColumn.type says of it afterwards.
  virtual std::string type_name(ColumnType type) const = 0;
  virtual std::string shown_as(ColumnType type) const = 0;
  // Empty: there is no such table.
  virtual std::vector<ExistingColumn> columns_of(soci::session& session,
                                                 const std::string& table) = 0;

  // PostgreSQL takes binary values as hex text and no text that is not UTF-8.
  virtual bool has_text_parameters() const = 0;

  // Runs one SELECT (of check_select) on a connection of open_reader or, for the host's own, of
  // open_writer.
  virtual void select(soci::session& session, const std::string& sql,
                      std::span<const ephor_cell> parameters, const RowVisitor& visitor,
                      bool is_reader) = 0;

  virtual bool is_in_transaction(soci::session& session) = 0;
  virtual void roll_back(soci::session& session) noexcept = 0;
  // The connection is of no more use.
  virtual bool is_broken(soci::session& session) noexcept = 0;
  // Rethrows the exception in flight as a HostError.
  [[noreturn]] virtual void rethrow(const std::string& where) = 0;
};

struct BackendOptions {
  Durability durability = Durability::normal;
  std::chrono::milliseconds select_timeout{30'000};
  bool read_only = false;
};

std::unique_ptr<StorageBackend> make_sqlite_backend(const std::filesystem::path& file,
                                                    const BackendOptions& options);
// `url`: postgresql://user@host:port/name?..., or postgresql://key=value ... (libpq's words).
std::unique_ptr<StorageBackend> make_postgres_backend(const std::string& url,
                                                      const BackendOptions& options);

}  // namespace ephor::host
