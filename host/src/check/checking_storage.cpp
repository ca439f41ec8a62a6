// SPDX-License-Identifier: Apache-2.0
#include "check/checking_storage.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cmath>

#include <sqlite3.h>

#include <nlohmann/json.hpp>

#include "event/error.hpp"

namespace ephor::host::check {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& found,
                         const std::string& expected) {
  throw HostError(EPHOR_INVALID, where + ": found " + found + ", expected " + expected);
}

const char* sql_type(ColumnType type) {
  switch (type) {
    case ColumnType::integer:
      return "INTEGER";
    case ColumnType::real:
      return "REAL";
    case ColumnType::blob:
      return "BLOB";
    case ColumnType::json:
      return "JSON";
    case ColumnType::text:
      break;
  }
  return "TEXT";
}

bool fits(ColumnType type, std::uint32_t kind) {
  switch (type) {
    case ColumnType::integer:
      return kind == EPHOR_CELL_INTEGER;
    case ColumnType::real:
      return kind == EPHOR_CELL_REAL || kind == EPHOR_CELL_INTEGER;
    case ColumnType::text:
      return kind == EPHOR_CELL_TEXT || kind == EPHOR_CELL_JSON;
    case ColumnType::json:
      return kind == EPHOR_CELL_JSON || kind == EPHOR_CELL_TEXT;
    case ColumnType::blob:
      return kind == EPHOR_CELL_BLOB;
  }
  return false;
}

void check_cell(const Table& table, const Column& column, bool is_key, const ephor_cell& cell) {
  const std::string where = "row of " + table.name + ", column " + column.name;
  if (cell.kind == EPHOR_CELL_NULL) {
    if (is_key) refuse(where, "NULL", "a value: it is of the key");
    return;
  }
  if (cell.kind > EPHOR_CELL_BLOB || !fits(column.type, cell.kind)) {
    refuse(where, "a cell of kind " + std::to_string(cell.kind), std::string(name_of(column.type)));
  }
  if (cell.kind >= EPHOR_CELL_TEXT && cell.bytes.size > 0 && cell.bytes.data == nullptr) {
    refuse(where, "a view of " + std::to_string(cell.bytes.size) + " bytes at NULL", "its bytes");
  }
  if (column.type == ColumnType::json && !nlohmann::json::accept(to_text(cell.bytes))) {
    refuse(where, "text that is no JSON: " + std::string(to_text(cell.bytes).substr(0, 80)),
           "one JSON value");
  }
}

}  // namespace

CheckingStorage::~CheckingStorage() { ::sqlite3_close_v2(database_); }

sqlite3* CheckingStorage::database() {
  if (database_ == nullptr &&
      ::sqlite3_open_v2(":memory:", &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX,
                        nullptr) != SQLITE_OK) {
    throw HostError(EPHOR_IO, "sqlite: no database in memory");
  }
  return database_;
}

void CheckingStorage::run(const std::string& sql) {
  if (::sqlite3_exec(database(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    throw HostError(EPHOR_INVALID, sql + ": " + ::sqlite3_errmsg(database_));
  }
}

void CheckingStorage::declare(std::string_view tables_json) {
  if (!tables_.empty()) {
    throw HostError(EPHOR_STATE, "declare: found a second call, expected one per instance");
  }
  tables_ = parse_tables(tables_json);
  for (const Table& table : tables_) {
    std::string sql = "CREATE TABLE IF NOT EXISTS \"" + table.name + "\" (";
    for (const Column& column : table.columns) {
      sql += "\"" + column.name + "\" " + sql_type(column.type) + ", ";
    }
    sql += "PRIMARY KEY (";
    for (std::size_t i = 0; i < table.key.size(); ++i) {
      sql += (i == 0 ? "\"" : ", \"") + table.columns[table.key[i]].name + "\"";
    }
    run(sql + "))");
  }
}

void CheckingStorage::use_file(const std::filesystem::path& file) {
  if (::sqlite3_open_v2(file.c_str(), &database_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
                        nullptr) != SQLITE_OK) {
    throw HostError(EPHOR_IO, file.string() + ": sqlite opens no database there");
  }
  run("PRAGMA journal_mode = MEMORY");
  run("PRAGMA synchronous = OFF");
}

void CheckingStorage::copy_from(CheckingStorage& other) {
  sqlite3_backup* copying = ::sqlite3_backup_init(database(), "main", other.database(), "main");
  const bool is_copied = copying != nullptr && ::sqlite3_backup_step(copying, -1) == SQLITE_DONE;
  if (copying != nullptr) ::sqlite3_backup_finish(copying);
  if (!is_copied) throw HostError(EPHOR_IO, "sqlite: the rows of the earlier life: no copy");
}

const Table& CheckingStorage::table_named(std::string_view name) const {
  for (const Table& table : tables_) {
    if (table.name == name) return table;
  }
  throw HostError(EPHOR_NOT_FOUND,
                  "row: found table \"" + std::string(name) + "\", expected one that was declared");
}

CheckingStorage::Statement CheckingStorage::prepared(std::string_view sql) {
  sqlite3_stmt* made = nullptr;
  const char* rest = nullptr;
  const int code =
      ::sqlite3_prepare_v2(database(), sql.data(), static_cast<int>(sql.size()), &made, &rest);
  Statement out(made, &::sqlite3_finalize);
  if (code != SQLITE_OK) {
    throw HostError(EPHOR_INVALID, std::string(sql) + ": " + ::sqlite3_errmsg(database_));
  }
  return out;
}

void CheckingStorage::bind(sqlite3_stmt* statement, int at, const ephor_cell& cell) {
  const auto size = static_cast<sqlite3_uint64>(cell.bytes.size);
  const char* data = cell.bytes.data != nullptr ? cell.bytes.data : "";
  switch (cell.kind) {
    case EPHOR_CELL_INTEGER:
      ::sqlite3_bind_int64(statement, at, cell.integer);
      break;
    case EPHOR_CELL_REAL:
      ::sqlite3_bind_double(statement, at, cell.real);
      break;
    case EPHOR_CELL_TEXT:
    case EPHOR_CELL_JSON:
      ::sqlite3_bind_text64(statement, at, data, size, SQLITE_TRANSIENT, SQLITE_UTF8);
      break;
    case EPHOR_CELL_BLOB:
      ::sqlite3_bind_blob64(statement, at, data, size, SQLITE_TRANSIENT);
      break;
    default:
      ::sqlite3_bind_null(statement, at);
      break;
  }
}

void CheckingStorage::upsert(std::string_view name, std::span<const ephor_cell> cells) {
  const Table& table = table_named(name);
  if (cells.size() != table.columns.size()) {
    refuse("row of " + table.name, std::to_string(cells.size()) + " cells",
           std::to_string(table.columns.size()) + ", one per declared column");
  }
  std::string sql = "INSERT OR REPLACE INTO \"" + table.name + "\" VALUES (";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    check_cell(table, table.columns[i], table.is_key(i), cells[i]);
    sql += i == 0 ? "?" : ",?";
  }
  const Statement statement = prepared(sql + ")");
  for (std::size_t i = 0; i < cells.size(); ++i) {
    bind(statement.get(), static_cast<int>(i) + 1, cells[i]);
  }
  if (::sqlite3_step(statement.get()) != SQLITE_DONE) {
    throw HostError(EPHOR_INVALID, "row of " + table.name + ": " + ::sqlite3_errmsg(database_));
  }
}

void CheckingStorage::erase(std::string_view name, std::span<const ephor_cell> key) {
  const Table& table = table_named(name);
  if (key.size() != table.key.size()) {
    refuse("erase from " + table.name, std::to_string(key.size()) + " cells",
           std::to_string(table.key.size()) + ", one per key column");
  }
  std::string sql = "DELETE FROM \"" + table.name + "\" WHERE ";
  for (std::size_t i = 0; i < key.size(); ++i) {
    const Column& column = table.columns[table.key[i]];
    check_cell(table, column, true, key[i]);
    sql += (i == 0 ? "\"" : " AND \"") + column.name + "\" = ?";
  }
  const Statement statement = prepared(sql);
  for (std::size_t i = 0; i < key.size(); ++i) {
    bind(statement.get(), static_cast<int>(i) + 1, key[i]);
  }
  ::sqlite3_step(statement.get());
}

void CheckingStorage::begin() { run("BEGIN"); }
void CheckingStorage::commit() { run("COMMIT"); }
void CheckingStorage::roll_back() { run("ROLLBACK"); }

void CheckingStorage::select(
    std::string_view sql, std::span<const ephor_cell> parameters,
    const std::function<ephor_status(std::span<const ephor_cell>)>& visit) {
  const Statement statement = prepared(sql);
  if (statement == nullptr || ::sqlite3_stmt_readonly(statement.get()) == 0) {
    refuse("select", std::string(sql), "one SELECT");
  }
  const auto wanted = static_cast<std::size_t>(::sqlite3_bind_parameter_count(statement.get()));
  if (wanted != parameters.size()) {
    refuse("select: " + std::string(sql), std::to_string(parameters.size()) + " parameters",
           std::to_string(wanted));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    bind(statement.get(), static_cast<int>(i) + 1, parameters[i]);
  }
  const int columns = ::sqlite3_column_count(statement.get());
  std::vector<ephor_cell> cells(static_cast<std::size_t>(columns));
  int code = SQLITE_ROW;
  while ((code = ::sqlite3_step(statement.get())) == SQLITE_ROW) {
    for (int i = 0; i < columns; ++i) {
      ephor_cell& cell = cells[static_cast<std::size_t>(i)];
      cell = {};
      const int type = ::sqlite3_column_type(statement.get(), i);
      if (type == SQLITE_NULL) continue;
      if (type == SQLITE_INTEGER) {
        cell.kind = EPHOR_CELL_INTEGER;
        cell.integer = ::sqlite3_column_int64(statement.get(), i);
      } else if (type == SQLITE_FLOAT) {
        cell.kind = EPHOR_CELL_REAL;
        cell.real = ::sqlite3_column_double(statement.get(), i);
      } else {
        const char* declared = ::sqlite3_column_decltype(statement.get(), i);
        const bool is_json = declared != nullptr && std::string_view(declared) == "JSON";
        cell.kind = type == SQLITE_BLOB ? EPHOR_CELL_BLOB
                    : is_json           ? EPHOR_CELL_JSON
                                        : EPHOR_CELL_TEXT;
        cell.bytes.data = static_cast<const char*>(::sqlite3_column_blob(statement.get(), i));
        cell.bytes.size = static_cast<std::uint64_t>(::sqlite3_column_bytes(statement.get(), i));
      }
    }
    if (visit(cells) != EPHOR_OK) return;
  }
  if (code != SQLITE_DONE) {
    throw HostError(EPHOR_INVALID, std::string(sql) + ": " + ::sqlite3_errmsg(database_));
  }
}

std::string CheckingStorage::dump() {
  std::vector<std::string> lines;
  for (const Table& table : tables_) {
    select("SELECT * FROM \"" + table.name + "\"", {}, [&](std::span<const ephor_cell> cells) {
      std::string line = table.name;
      for (const ephor_cell& cell : cells) {
        line += '\t';
        if (cell.kind == EPHOR_CELL_INTEGER) line += std::to_string(cell.integer);
        if (cell.kind == EPHOR_CELL_REAL) line += nlohmann::json(cell.real).dump();
        if (cell.kind >= EPHOR_CELL_TEXT) line += to_text(cell.bytes);
      }
      lines.push_back(line + "\n");
      return EPHOR_OK;
    });
  }
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const std::string& line : lines) out += line;
  return out;
}

}  // namespace ephor::host::check
