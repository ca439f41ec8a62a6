// SPDX-License-Identifier: Apache-2.0
#include "store/checkpoint.hpp"

#include <bit>
#include <cmath>
#include <iterator>

#include "event/error.hpp"

namespace ephor::host {
namespace {

std::string_view kind_name(std::uint32_t kind) {
  constexpr std::string_view kNames[] = {"null", "integer", "real", "text", "json", "blob"};
  return kind < std::size(kNames) ? kNames[kind] : std::string_view("an unknown kind");
}

bool fits(std::uint32_t kind, ColumnType type) {
  switch (type) {
    case ColumnType::integer:
      return kind == EPHOR_CELL_INTEGER;
    case ColumnType::real:
      return kind == EPHOR_CELL_REAL || kind == EPHOR_CELL_INTEGER;
    case ColumnType::text:
    case ColumnType::json:
      return kind == EPHOR_CELL_TEXT || kind == EPHOR_CELL_JSON;
    case ColumnType::blob:
      return kind == EPHOR_CELL_BLOB;
  }
  return false;
}

bool is_null(const ephor_cell& cell) {
  return cell.kind == EPHOR_CELL_NULL || (cell.kind == EPHOR_CELL_REAL && std::isnan(cell.real));
}

void require_count(const Table& table, std::size_t found, std::size_t expected, const char* what) {
  if (found == expected) return;
  throw HostError(EPHOR_INVALID, "storage: " + table.name + ": " + std::to_string(found) +
                                     " cells, expected one per " + what + ", " +
                                     std::to_string(expected));
}

void require_fit(const Table& table, std::size_t column, const ephor_cell& cell) {
  const bool null = is_null(cell);
  if (null && !table.is_key(column)) return;
  if (!null && fits(cell.kind, table.columns[column].type)) return;
  throw HostError(EPHOR_INVALID,
                  "storage: " + table.name + "." + table.columns[column].name + ": found " +
                      std::string(null ? "null" : kind_name(cell.kind)) + ", expected " +
                      std::string(name_of(table.columns[column].type)) +
                      (table.is_key(column) ? " (a key column)" : ""));
}

}  // namespace

std::uint32_t Checkpoint::index_of_table(std::string_view name) const {
  // Plugins have a handful of tables and write many rows of one after another.
  if (!rows_.empty() && tables_[rows_.back().table]->name == name) return rows_.back().table;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (tables_[i]->name == name) return static_cast<std::uint32_t>(i);
  }
  throw HostError(EPHOR_NOT_FOUND,
                  "storage: " + instance_ + " has not declared a table " + std::string(name));
}

void Checkpoint::add(const ephor_cell& cell) {
  if (is_null(cell)) {
    cells_.push_back({});
    return;
  }
  switch (cell.kind) {
    case EPHOR_CELL_INTEGER:
      cells_.push_back({cell.kind, static_cast<std::uint64_t>(cell.integer), 0});
      return;
    case EPHOR_CELL_REAL:
      cells_.push_back({cell.kind, std::bit_cast<std::uint64_t>(cell.real), 0});
      return;
    default:
      cells_.push_back({cell.kind, bytes_.size(), cell.bytes.size});
      if (cell.bytes.size != 0) bytes_.append(cell.bytes.data, cell.bytes.size);
  }
}

void Checkpoint::upsert(std::string_view table, std::span<const ephor_cell> cells) {
  const std::uint32_t index = index_of_table(table);
  const Table& schema = *tables_[index];
  require_count(schema, cells.size(), schema.columns.size(), "column");
  for (std::size_t i = 0; i < cells.size(); ++i) require_fit(schema, i, cells[i]);
  rows_.push_back({index, false, cells_.size()});
  for (const ephor_cell& cell : cells) add(cell);
}

void Checkpoint::erase(std::string_view table, std::span<const ephor_cell> key) {
  const std::uint32_t index = index_of_table(table);
  const Table& schema = *tables_[index];
  require_count(schema, key.size(), schema.key.size(), "key column");
  for (std::size_t i = 0; i < key.size(); ++i) require_fit(schema, schema.key[i], key[i]);
  rows_.push_back({index, true, cells_.size()});
  for (const ephor_cell& cell : key) add(cell);
}

void Checkpoint::clear() {
  rows_.clear();
  cells_.clear();
  bytes_.clear();
  state_.clear();
}

ephor_cell Checkpoint::cell(const Row& row, std::size_t index) const {
  const Cell& cell = cells_[row.first_cell + index];
  ephor_cell out{};
  out.kind = cell.kind;
  switch (cell.kind) {
    case EPHOR_CELL_NULL:
      break;
    case EPHOR_CELL_INTEGER:
      out.integer = static_cast<std::int64_t>(cell.value);
      break;
    case EPHOR_CELL_REAL:
      out.real = std::bit_cast<double>(cell.value);
      break;
    default:
      out.bytes = {bytes_.data() + cell.value, cell.size};
  }
  return out;
}

}  // namespace ephor::host
