// SPDX-License-Identifier: Apache-2.0
//
// The identities of removed batches, kept as long as they belong to the newest events of the log:
// an event that was removed and is sent again is still a duplicate. 16 bytes an event.
#pragma once

#include <cstdint>
#include <string_view>

#include "store/sqlite_cursor.hpp"

namespace ephor::host {

// Belongs to the writer: no lock of its own.
class RemovedIds {
 public:
  static constexpr const char* kTable =
      "CREATE TABLE IF NOT EXISTS removed_ids(position INTEGER PRIMARY KEY, count INTEGER,"
      " ids BLOB)";

  explicit RemovedIds(soci::session& writer);

  // Inside the writer's transaction; `publish` after its commit, `discard` after a failure.
  void add(std::int64_t position, std::int64_t count, std::string_view ids);
  // Forgets what lies behind the newest `window` events; `newer` events are still in the journal.
  void prune(std::uint64_t window, std::uint64_t newer);
  void publish() { events_ = staged_events_; }
  void discard() { staged_events_ = events_; }

  std::uint64_t events() const { return events_; }

 private:
  soci::session& writer_;
  std::uint64_t events_ = 0;
  std::uint64_t staged_events_ = 0;
};

}  // namespace ephor::host
