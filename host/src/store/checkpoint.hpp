// SPDX-License-Identifier: Apache-2.0
//
// What one instance saves at once: the rows it changed, its state, and how far it has read. Cells
// are copied into blocks, so that collecting a hundred thousand rows allocates a few hundred times,
// moves nothing and takes little more than the rows' own bytes.
#pragma once

#include <ephor/abi.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/table_schema.hpp"

namespace ephor::host {

// Not thread-safe. Made by Storage::checkpoint, which knows the instance's tables.
class Checkpoint {
 public:
  using Tables = std::vector<std::shared_ptr<const Table>>;

  Checkpoint(std::string instance, Tables tables)
      : instance_(std::move(instance)), tables_(std::move(tables)) {}
  Checkpoint(Checkpoint&&) noexcept = default;
  Checkpoint& operator=(Checkpoint&&) noexcept = default;

  // HostError EPHOR_NOT_FOUND for a table the instance has not declared, EPHOR_INVALID for a wrong
  // number or kind of cells; nothing is added then. A REAL that is not a number becomes NULL: that
  // is what "no data" is called on every database.
  void upsert(std::string_view table, std::span<const ephor_cell> cells);
  void erase(std::string_view table, std::span<const ephor_cell> key);
  void append_state(std::string_view bytes) { state_.append(bytes); }
  // Forgets rows and state.
  void clear();

  std::string plugin_version;
  std::uint32_t state_version = 0;
  std::uint64_t sequence = 0;    // the last event that rows and state cover
  std::uint64_t generation = 0;  // from Storage::next_generation
  std::string epoch;             // hash of plugin version and configuration
  std::int64_t saved_at_ns = 0;  // passed in: storing asks no clock

  const std::string& instance() const { return instance_; }
  std::string_view state() const { return state_; }
  std::size_t row_count() const { return rows_.size(); }
  std::size_t size_bytes() const {
    return block_bytes_ + cells_.size() * sizeof(Cell) + rows_.size() * sizeof(Row) + state_.size();
  }

  struct Row {
    std::uint32_t table = 0;
    bool is_erase = false;
    std::uint64_t first_cell = 0;
  };
  const std::deque<Row>& rows() const { return rows_; }
  const std::shared_ptr<const Table>& table(const Row& row) const { return tables_[row.table]; }
  // Cell `index` of the row: one per column, of an erased row one per key column.
  ephor_cell cell(const Row& row, std::size_t index) const;

 private:
  struct Cell {
    std::uint64_t value = 0;  // the integer's or real's bits, or the address of the bytes
    std::uint32_t size = 0;   // of the bytes
    std::uint32_t kind = EPHOR_CELL_NULL;
  };
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t used = 0;
    std::size_t size = 0;
  };

  std::uint32_t index_of_table(std::string_view name) const;
  void add(const ephor_cell& cell);
  const char* keep(ephor_view bytes);

  std::string instance_;
  Tables tables_;
  std::deque<Row> rows_;
  std::deque<Cell> cells_;
  std::vector<Block> blocks_;
  std::size_t block_bytes_ = 0;
  std::string state_;
};

}  // namespace ephor::host
