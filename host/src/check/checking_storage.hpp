// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/table_schema.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace ephor::host::check {

// The tables of one instance in an SQLite database in memory, so that a plugin's SQL is run and not
// believed. Not thread-safe. Everything throws HostError: what was found, what was expected.
class CheckingStorage {
 public:
  CheckingStorage() = default;
  ~CheckingStorage();
  CheckingStorage(const CheckingStorage&) = delete;
  CheckingStorage& operator=(const CheckingStorage&) = delete;

  // Before anything else: the rows are kept in a file, without care for power cuts.
  void use_file(const std::filesystem::path& file);
  void declare(std::string_view tables_json);
  // The rows of an earlier life, whose tables are declared again.
  void copy_from(CheckingStorage& other);
  void upsert(std::string_view table, std::span<const ephor_cell> cells);
  void erase(std::string_view table, std::span<const ephor_cell> key);
  // The rows of one save: all or none.
  void begin();
  void commit();
  void roll_back();
  // One SELECT; another status than EPHOR_OK of `visit` ends it.
  void select(std::string_view sql, std::span<const ephor_cell> parameters,
              const std::function<ephor_status(std::span<const ephor_cell>)>& visit);

  const std::vector<Table>& tables() const { return tables_; }
  // Every row of every table as text, sorted: two stores are equal if these are.
  std::string dump();

 private:
  using Statement = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;
  sqlite3* database();
  void run(const std::string& sql);
  Statement prepared(std::string_view sql);
  void bind(sqlite3_stmt* statement, int at, const ephor_cell& cell);
  const Table& table_named(std::string_view name) const;

  sqlite3* database_ = nullptr;
  std::vector<Table> tables_;
};

}  // namespace ephor::host::check
