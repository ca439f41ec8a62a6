// SPDX-License-Identifier: Apache-2.0
//
// The journal's tables and its prepared statements.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/gap_table.hpp"
#include "store/join_index.hpp"
#include "store/journal.hpp"
#include "store/removed_ids.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host::journal {

inline constexpr const char* kTables[] = {
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value)",
    // ids before body: reading them does not walk the body's overflow pages.
    "CREATE TABLE IF NOT EXISTS batches(position INTEGER PRIMARY KEY, first_seq INTEGER,"
    " last_seq INTEGER, t_min INTEGER, t_max INTEGER, arrived_ns INTEGER, count INTEGER,"
    " record_bytes INTEGER, codec INTEGER, ids BLOB, body BLOB)",
    // Kept up to date so that opening never scans the batches.
    "CREATE TABLE IF NOT EXISTS totals(id INTEGER PRIMARY KEY CHECK(id = 1), batches INTEGER,"
    " events INTEGER, record_bytes INTEGER, stored_bytes INTEGER, last_position INTEGER)",
    "INSERT OR IGNORE INTO totals VALUES(1, 0, 0, 0, 0, 0)",
    GapTable::kTable,
    RemovedIds::kTable,
};

inline constexpr const char* kBatchColumns =
    "SELECT position, arrived_ns, count, record_bytes, codec, ids, body FROM batches ";

inline const char* synchronous_of(Durability durability) {
  switch (durability) {
    case Durability::full:
      return "FULL";
    case Durability::normal:
      return "NORMAL";
    case Durability::off:
      break;
  }
  return "OFF";
}

inline std::string random_id() {
  std::random_device source;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id(32, '0');
  for (char& digit : id) digit = kDigits[source() % kDigits.size()];
  return id;
}

inline std::unique_ptr<soci::session> open_for_reading(const std::filesystem::path& path) {
  auto session = sqlite::open(path, sqlite::OpenMode::existing);
  sqlite::execute(*session, "PRAGMA query_only=ON");
  sqlite::execute(*session, "PRAGMA cell_size_check=ON");
  return session;
}

// One reading connection with its statements.
struct Reader {
  explicit Reader(const std::filesystem::path& path)
      : session(open_for_reading(path)),
        at(*session, std::string(kBatchColumns) + "WHERE position = ?"),
        from(*session,
             std::string(kBatchColumns) + "WHERE position >= ? ORDER BY position LIMIT 1"),
        oldest(*session, "SELECT min(position) FROM batches"),
        oldest_arrival(*session, "SELECT arrived_ns FROM batches ORDER BY position LIMIT 1"),
        recent_ids(*session,
                   "SELECT position, count, ids, codec, record_bytes FROM batches"
                   " WHERE position <= ?"
                   " ORDER BY position DESC"),
        ids_at(*session, "SELECT ids FROM batches WHERE position = ?"),
        body_at(*session, "SELECT body FROM batches WHERE position = ?"),
        page_counts(*session,
                    "SELECT page_count, freelist_count FROM pragma_page_count,"
                    " pragma_freelist_count"),
        pages(*session) {}

  std::unique_ptr<soci::session> session;
  sqlite::Cursor at;
  sqlite::Cursor from;
  sqlite::Cursor oldest;
  sqlite::Cursor oldest_arrival;
  sqlite::Cursor recent_ids;
  sqlite::Cursor ids_at;
  sqlite::Cursor body_at;
  sqlite::Cursor page_counts;
  JoinIndex::Pages pages;
};

// True if the row at `position` can be read; a missing one cannot.
inline bool can_read(sqlite::Cursor& at, std::uint64_t position) {
  try {
    const sqlite::CursorScope scope(at);
    at.bind(1, static_cast<std::int64_t>(position));
    return at.step();
  } catch (const soci::sqlite3_soci_error& error) {
    if (sqlite::is_damage(error.result())) return false;
    throw;
  }
}

inline void fill(const sqlite::Cursor& row, StoredBatch& batch) {
  batch.position = static_cast<std::uint64_t>(row.integer(0));
  batch.arrived_ns = row.integer(1);
  const auto count = static_cast<std::uint64_t>(row.integer(2));
  try {
    decode_body(static_cast<std::uint32_t>(row.integer(4)), row.blob(6), count,
                static_cast<std::uint64_t>(row.integer(3)), batch);
    read_stored_ids(row.blob(5), batch);
  } catch (const std::exception& error) {
    throw DamageError(
        "journal: position " + std::to_string(batch.position) + ": damaged batch: " + error.what(),
        false, batch.position, batch.position, count <= kBatchEventsMax ? count : 0);
  }
}

// Prepared once; SOCI binds these variables.
struct InsertBatch {
  explicit InsertBatch(soci::session& session)
      : ids(session),
        body(session),
        statement((session.prepare << "INSERT INTO batches VALUES(:position, :first_seq, :last_seq,"
                                      " :t_min, :t_max, :arrived_ns, :count, :record_bytes, :codec,"
                                      " :ids, :body)",
                   soci::use(position), soci::use(first_seq), soci::use(last_seq), soci::use(t_min),
                   soci::use(t_max), soci::use(arrived_ns), soci::use(count),
                   soci::use(record_bytes), soci::use(codec), soci::use(ids), soci::use(body))) {}

  void execute(const Batch& batch, const EncodedBatch& encoded) {
    position = static_cast<long long>(batch.position);
    first_seq = static_cast<long long>(sequence_of(batch.position, 0));
    last_seq = static_cast<long long>(sequence_of(batch.position, encoded.count - 1));
    t_min = encoded.time_min_ns;
    t_max = encoded.time_max_ns;
    arrived_ns = batch.arrived_ns;
    count = encoded.count;
    record_bytes = static_cast<long long>(encoded.record_bytes);
    codec = encoded.codec;
    assign(ids, encoded.ids);
    assign(body, encoded.body);
    statement.execute(true);
  }

 private:
  static void assign(soci::blob& blob, const std::string& bytes) {
    blob.trim(0);
    blob.write(0, bytes.data(), bytes.size());
  }

  long long position = 0, first_seq = 0, last_seq = 0, t_min = 0, t_max = 0, arrived_ns = 0;
  long long count = 0, record_bytes = 0, codec = 0;
  soci::blob ids;
  soci::blob body;
  soci::statement statement;
};

struct Totals {
  long long batches = 0, events = 0, record_bytes = 0, stored_bytes = 0, last_position = 0;

  void add(const EncodedBatch& encoded) {
    ++batches;
    events += encoded.count;
    record_bytes += static_cast<long long>(encoded.record_bytes);
    stored_bytes += static_cast<long long>(encoded.body.size() + encoded.ids.size());
  }
};

struct UpdateTotals {
  explicit UpdateTotals(soci::session& session)
      : statement((session.prepare << "UPDATE totals SET batches = :a, events = :b,"
                                      " record_bytes = :c, stored_bytes = :d, last_position = :e",
                   soci::use(values.batches), soci::use(values.events),
                   soci::use(values.record_bytes), soci::use(values.stored_bytes),
                   soci::use(values.last_position))) {}

  void execute(const Totals& totals) {
    values = totals;
    statement.execute(true);
  }

 private:
  Totals values;
  soci::statement statement;
};

}  // namespace ephor::host::journal
