// SPDX-License-Identifier: Apache-2.0
//
// The journal's table of what is missing from it. Retention's part is one row that grows; damage
// has a row each.
#pragma once

#include <mutex>
#include <vector>

#include "store/journal.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host {

class GapTable {
 public:
  static constexpr const char* kRetention = "retention";
  static constexpr const char* kTable =
      "CREATE TABLE IF NOT EXISTS gaps(first_seq INTEGER PRIMARY KEY, last_seq INTEGER,"
      " batches INTEGER, events INTEGER, bytes INTEGER, why TEXT, at_ns INTEGER)";

  // Loads what is there; a file of an older Ephor has no such table.
  explicit GapTable(soci::session& writer, bool read_only);

  // [any]
  std::vector<JournalGap> all() const;
  bool covers(std::uint64_t first_sequence, std::uint64_t last_sequence) const;

  // Writer's side, inside its transaction; `publish` after the commit, `discard` after a failure.
  void add(const JournalGap& gap);  // extends the row it follows if both are retention's
  void publish();
  void discard() { staged_.clear(); }

 private:
  soci::session& writer_;
  const bool read_only_;
  std::vector<JournalGap> staged_;
  mutable std::mutex mutex_;      // guards gaps_
  std::vector<JournalGap> gaps_;  // ascending by first_sequence
};

}  // namespace ephor::host
