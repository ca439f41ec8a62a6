// SPDX-License-Identifier: Apache-2.0
//
// SQLite through SOCI: opening, errors, and reading rows where SOCI's exchange would copy or guess
// (blobs in place, values by their own type instead of the column's declared one).
#pragma once

#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::sqlite {

enum class OpenMode { create, existing };

// WAL, 10 s busy timeout. HostError EPHOR_IO names the file.
std::unique_ptr<soci::session> open(const std::filesystem::path& path, OpenMode mode,
                                    int page_size_bytes = 4096);

sqlite_api::sqlite3* handle(soci::session& session);

// Runs a statement without parameters or result.
void execute(soci::session& session, const std::string& sql);

// Ends an open transaction if there is one; never throws.
void roll_back(soci::session& session) noexcept;

// Rethrows the exception in flight as a HostError that starts with `where`; a DamageError if the
// file's pages are damaged.
[[noreturn]] void rethrow(const std::string& where);

// The code (primary or extended) says that pages are not what SQLite wrote, or cannot be read. A
// full disk, a lock or a failed write is none.
bool is_damage(int result);

// The faults that SQLite finds in the structure of the file, at most `count_max`; empty: none.
// Reads all of it. Throws nothing for what is in the file.
std::vector<std::string> integrity_faults(soci::session& session, bool is_quick, int count_max);

// A prepared SELECT. Columns count from 0, parameters from 1. A view dies with the next step or
// reset; a row left open keeps the snapshot of the connection, so reset is also done on
// destruction.
class Cursor {
 public:
  Cursor(soci::session& session, const std::string& sql);
  ~Cursor() { reset(); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind_text(int parameter, std::string_view text);
  void bind_blob(int parameter, std::string_view bytes);
  void bind_null(int parameter);
  int parameter_count() const;

  bool step();
  void reset() noexcept;

  int column_count() const;
  int type(int column) const;  // SQLITE_INTEGER, SQLITE_FLOAT ...
  std::string_view declared_type(int column) const;
  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;
  std::string_view blob(int column) const;
  bool is_read_only() const;

 private:
  void check(int result) const;

  soci::session& session_;
  soci::statement statement_;  // owns stmt_
  sqlite_api::sqlite3_stmt* stmt_ = nullptr;
};

// Resets a kept cursor at the end of a scope.
class CursorScope {
 public:
  explicit CursorScope(Cursor& cursor) : cursor_(cursor) {}
  ~CursorScope() { cursor_.reset(); }
  CursorScope(const CursorScope&) = delete;
  CursorScope& operator=(const CursorScope&) = delete;

 private:
  Cursor& cursor_;
};

}  // namespace ephor::host::sqlite
