// SPDX-License-Identifier: Apache-2.0
//
// Sets of ids (<ephor/id_set.hpp>) as rows of a table of the plugin, so that a checkpoint writes
// only what is new. The plugin declares the table
//   {"name": TABLE, "key": ["kind", "chunk"], "columns": [{"name": "kind", "type": "integer"},
//     {"name": "chunk", "type": "integer"}, {"name": "ids", "type": "blob"}]}
// and saves each set's size in its state: rows may be ahead of the state that is restored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/id_set.hpp>
#include <ephor/plugin.hpp>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace ephor {

// In Plugin::save. `kind` tells the sets of one table apart; stored, so a number is never used
// again. O(ids that are new).
inline void save_ids(const Rows& rows, std::string_view table, std::int64_t kind, IdSet& ids) {
  ids.save_chunks([&](std::int64_t chunk, std::string_view bytes) {
    rows.upsert(table, {Cell::integer_value(kind), Cell::integer_value(chunk), Cell::blob(bytes)});
  });
}

struct SavedIds {
  std::int64_t kind;
  IdSet& ids;         // empty
  std::size_t count;  // its size as the state has it
};

// In Plugin::load. False if the rows do not hold what the state says: then rebuild from the
// journal. Rows of other kinds are left alone; where all counts are 0 the table is not read.
inline bool load_ids(const Host& host, const std::string& table,
                     std::initializer_list<SavedIds> sets) {
  std::size_t total = 0;
  for (const SavedIds& saved : sets) total += saved.count;
  bool is_good = true;
  if (total > 0) {
    host.select("SELECT kind, chunk, ids FROM " + table + " ORDER BY kind, chunk", {},
                [&](std::span<const ephor_cell> cells) {
                  if (cells.size() < 3) return;
                  for (const SavedIds& saved : sets) {
                    if (saved.kind != cells[0].integer) continue;
                    is_good = is_good && saved.ids.load_chunk(cells[1].integer,
                                                              to_text(cells[2].bytes), saved.count);
                  }
                });
  }
  for (const SavedIds& saved : sets) is_good = is_good && saved.ids.size() == saved.count;
  return is_good;
}

}  // namespace ephor
