// SPDX-License-Identifier: Apache-2.0
#include "store/checkpoint.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "event/error.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kBlockBytes = 256U << 10U;

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
  const bool has_bytes = !null && cell.kind != EPHOR_CELL_INTEGER && cell.kind != EPHOR_CELL_REAL;
  if (has_bytes && cell.bytes.size > std::numeric_limits<std::int32_t>::max()) {
    throw HostError(EPHOR_INVALID, "storage: " + table.name + "." + table.columns[column].name +
                                       ": found " + std::to_string(cell.bytes.size) +
                                       " bytes, expected less than 2 GiB");
  }
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
      cells_.push_back({static_cast<std::uint64_t>(cell.integer), 0, cell.kind});
      return;
    case EPHOR_CELL_REAL:
      cells_.push_back({std::bit_cast<std::uint64_t>(cell.real), 0, cell.kind});
      return;
    default:
      cells_.push_back({std::bit_cast<std::uint64_t>(keep(cell.bytes)),
                        static_cast<std::uint32_t>(cell.bytes.size), cell.kind});
  }
}

// Large bytes get a block of their own.
const char* Checkpoint::keep(ephor_view bytes) {
  if (bytes.size == 0) return "";
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < bytes.size) {
    const std::size_t size = std::max<std::size_t>(bytes.size, kBlockBytes);
    blocks_.push_back({std::unique_ptr<char[]>(new char[size]), 0, size});
    block_bytes_ += size;
  }
  Block& block = blocks_.back();
  char* const kept = block.bytes.get() + block.used;
  std::memcpy(kept, bytes.data, bytes.size);
  block.used += bytes.size;
  return kept;
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
  blocks_.clear();
  block_bytes_ = 0;
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
      out.bytes = {std::bit_cast<const char*>(cell.value), cell.size};
  }
  return out;
}

}  // namespace ephor::host
