// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_journal.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/join_index.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host {
namespace {

constexpr int kPageBytes = 4096;
// 16 MiB of log between checkpoints; above 64 MiB (a long reader held it) the file is cut back.
constexpr int kCheckpointPages = 4000;
constexpr int kWalBytesMax = 64 << 20;
constexpr std::size_t kIdleReadersMax = 8;

constexpr const char* kTables[] = {
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value)",
    // ids before body: reading them does not walk the body's overflow pages.
    "CREATE TABLE IF NOT EXISTS batches(position INTEGER PRIMARY KEY, first_seq INTEGER,"
    " last_seq INTEGER, t_min INTEGER, t_max INTEGER, arrived_ns INTEGER, count INTEGER,"
    " record_bytes INTEGER, codec INTEGER, ids BLOB, body BLOB)",
    // Kept up to date so that opening never scans the batches.
    "CREATE TABLE IF NOT EXISTS totals(id INTEGER PRIMARY KEY CHECK(id = 1), batches INTEGER,"
    " events INTEGER, record_bytes INTEGER, stored_bytes INTEGER, last_position INTEGER)",
    "INSERT OR IGNORE INTO totals VALUES(1, 0, 0, 0, 0, 0)",
};

constexpr const char* kBatchColumns =
    "SELECT position, arrived_ns, count, record_bytes, codec, ids, body FROM batches ";

const char* synchronous_of(Durability durability) {
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

std::string random_id() {
  std::random_device source;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id(32, '0');
  for (char& digit : id) digit = kDigits[source() % kDigits.size()];
  return id;
}

std::unique_ptr<soci::session> open_for_reading(const std::filesystem::path& path) {
  auto session = sqlite::open(path, sqlite::OpenMode::existing);
  sqlite::execute(*session, "PRAGMA query_only=ON");
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
        recent_ids(*session, "SELECT position, count, ids FROM batches ORDER BY position DESC"),
        pages(*session) {}

  std::unique_ptr<soci::session> session;
  sqlite::Cursor at;
  sqlite::Cursor from;
  sqlite::Cursor oldest;
  sqlite::Cursor recent_ids;
  JoinIndex::Pages pages;
};

void fill(const sqlite::Cursor& row, StoredBatch& batch) {
  batch.position = static_cast<std::uint64_t>(row.integer(0));
  batch.arrived_ns = row.integer(1);
  try {
    const auto count = static_cast<std::uint64_t>(row.integer(2));
    decode_body(static_cast<std::uint32_t>(row.integer(4)), row.blob(6), count,
                static_cast<std::uint64_t>(row.integer(3)), batch);
    batch.ids = decode_ids(row.blob(5), count);
  } catch (const std::exception& error) {
    throw HostError(EPHOR_IO, "journal: position " + std::to_string(batch.position) +
                                  ": damaged batch: " + error.what());
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

void forget_positions(std::span<Pending> group) {
  for (Pending& pending : group) {
    pending.batch->position = 0;
    for (ephor_event& event : pending.batch->events) event.sequence = 0;
  }
}

}  // namespace

struct SqliteJournal::Impl {
  Impl(const std::filesystem::path& directory, const SqliteJournalOptions& options)
      : path(directory / "journal.db"), read_only(options.read_only) {
    try {
      writer = sqlite::open(path, read_only ? sqlite::OpenMode::existing : sqlite::OpenMode::create,
                            kPageBytes);
      if (read_only) {
        sqlite::execute(*writer, "PRAGMA query_only=ON");
      } else {
        prepare_for_writing(options);
      }
      check_version();
      load_totals();
      index = std::make_unique<JoinIndex>(*writer, options.index_run_entries, read_only);
      if (!read_only) {
        insert_batch = std::make_unique<InsertBatch>(*writer);
        update_totals = std::make_unique<UpdateTotals>(*writer);
      }
    } catch (...) {
      sqlite::rethrow(path.string());
    }
  }

  void prepare_for_writing(const SqliteJournalOptions& options) {
    sqlite::execute(*writer,
                    std::string("PRAGMA synchronous=") + synchronous_of(options.durability));
    sqlite::execute(*writer, "PRAGMA wal_autocheckpoint=" + std::to_string(kCheckpointPages));
    sqlite::execute(*writer, "PRAGMA journal_size_limit=" + std::to_string(kWalBytesMax));
    // A newer Ephor's file is refused before anything in it changes.
    {
      sqlite::Cursor exists(*writer, "SELECT 1 FROM sqlite_master WHERE name = 'meta'");
      if (exists.step()) return;
    }
    sqlite::execute(*writer, "BEGIN IMMEDIATE");
    try {
      for (const char* table : kTables) sqlite::execute(*writer, table);
      const long long version = kFormatVersion;
      const std::string made_id = random_id();
      *writer << "INSERT OR IGNORE INTO meta VALUES('format_version', :v)", soci::use(version);
      *writer << "INSERT OR IGNORE INTO meta VALUES('id', :v)", soci::use(made_id);
      sqlite::execute(*writer, "COMMIT");
    } catch (...) {
      sqlite::roll_back(*writer);
      throw;
    }
  }

  void check_version() {
    sqlite::Cursor meta(*writer, "SELECT key, value FROM meta");
    std::int64_t version = 0;
    while (meta.step()) {
      if (meta.text(0) == "format_version") version = meta.integer(1);
      if (meta.text(0) == "id") id = std::string(meta.text(1));
      if (meta.text(0) == "note") note = std::string(meta.text(1));
    }
    if (version < 1 || version > kFormatVersion) {
      throw HostError(EPHOR_UNSUPPORTED, path.string() + ": journal format " +
                                             std::to_string(version) + ", this Ephor reads up to " +
                                             std::to_string(kFormatVersion));
    }
  }

  void load_totals() {
    sqlite::Cursor row(
        *writer, "SELECT batches, events, record_bytes, stored_bytes, last_position FROM totals");
    if (!row.step()) throw HostError(EPHOR_IO, path.string() + ": its totals are missing");
    totals = {row.integer(0), row.integer(1), row.integer(2), row.integer(3), row.integer(4)};
  }

  std::string current_note() const {
    const std::lock_guard lock(write_mutex);
    return note;
  }

  void append(std::span<Pending> group, std::string_view new_note) {
    if (group.empty()) return;
    const std::lock_guard lock(write_mutex);
    require_writable();
    Totals after = committed_totals();
    try {
      writer->begin();
      for (const Pending& pending : group) {
        Batch& batch = *pending.batch;
        if (pending.encoded.count != batch.events.size()) {
          throw HostError(EPHOR_INVALID, "the batch changed after it was encoded");
        }
        batch.position = static_cast<std::uint64_t>(++after.last_position);
        for (std::size_t i = 0; i < batch.events.size(); ++i) {
          batch.events[i].sequence = sequence_of(batch.position, static_cast<std::uint32_t>(i));
        }
        insert_batch->execute(batch, pending.encoded);
        index->add(batch.position, batch.join_keys);
        after.add(pending.encoded);
      }
      index->flush_if_full();
      update_totals->execute(after);
      if (new_note != note) {
        const std::string value(new_note);
        *writer << "INSERT INTO meta VALUES('note', :v)"
                   " ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            soci::use(value);
      }
      writer->commit();
    } catch (...) {
      abandon();
      forget_positions(group);
      sqlite::rethrow("journal: append to " + path.string());
    }
    note = new_note;
    index->publish();
    set_totals(after);
  }

  void remove_before(std::uint64_t position) {
    const std::lock_guard lock(write_mutex);
    require_writable();
    const long long bound = static_cast<long long>(
        std::min<std::uint64_t>(position, std::numeric_limits<std::int64_t>::max()));
    Totals after = committed_totals();
    try {
      writer->begin();
      {
        sqlite::Cursor sums(*writer,
                            "SELECT count(*), coalesce(sum(count), 0),"
                            " coalesce(sum(record_bytes), 0),"
                            " coalesce(sum(length(ids) + length(body)), 0)"
                            " FROM batches WHERE position < ?");
        sums.bind(1, std::int64_t{bound});
        sums.step();
        after.batches -= sums.integer(0);
        after.events -= sums.integer(1);
        after.record_bytes -= sums.integer(2);
        after.stored_bytes -= sums.integer(3);
      }
      *writer << "DELETE FROM batches WHERE position < :p", soci::use(bound);
      index->remove_before(static_cast<std::uint64_t>(bound));
      update_totals->execute(after);
      writer->commit();
    } catch (...) {
      abandon();
      sqlite::rethrow("journal: remove from " + path.string());
    }
    index->publish();
    set_totals(after);
  }

  void abandon() {
    sqlite::roll_back(*writer);
    index->discard();
  }

  // Through SQLite's own file objects: closing a second descriptor of the file would drop the locks
  // the process holds on it (POSIX).
  void sync() {
    const std::lock_guard lock(write_mutex);
    require_writable();
    for (const int which : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
      sqlite_api::sqlite3_file* file = nullptr;
      const int found =
          sqlite_api::sqlite3_file_control(sqlite::handle(*writer), "main", which, &file);
      if (found != SQLITE_OK || file == nullptr || file->pMethods == nullptr) continue;
      if (const int result = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL); result != SQLITE_OK) {
        throw HostError(EPHOR_IO, "journal: sync of " + path.string() + " failed, SQLite code " +
                                      std::to_string(result));
      }
    }
  }

  void require_writable() const {
    if (read_only) throw HostError(EPHOR_STATE, path.string() + ": opened for reading only");
  }

  Totals committed_totals() const {
    const std::lock_guard lock(totals_mutex);
    return totals;
  }
  void set_totals(const Totals& after) {
    const std::lock_guard lock(totals_mutex);
    totals = after;
  }

  // Lends a reader to `body`; readers are kept for the next caller.
  template <typename Body>
  auto with_reader(Body&& body) {
    std::unique_ptr<Reader> reader;
    {
      const std::lock_guard lock(readers_mutex);
      if (!idle_readers.empty()) {
        reader = std::move(idle_readers.back());
        idle_readers.pop_back();
      }
    }
    try {
      if (reader == nullptr) reader = std::make_unique<Reader>(path);
      if constexpr (std::is_void_v<decltype(body(*reader))>) {
        body(*reader);
        give_back(std::move(reader));
      } else {
        auto result = body(*reader);
        give_back(std::move(reader));
        return result;
      }
    } catch (...) {
      give_back(std::move(reader));
      sqlite::rethrow("journal: read from " + path.string());
    }
  }

  void give_back(std::unique_ptr<Reader> reader) {
    const std::lock_guard lock(readers_mutex);
    if (reader != nullptr && idle_readers.size() < kIdleReadersMax) {
      idle_readers.push_back(std::move(reader));
    }
  }

  const std::filesystem::path path;
  const bool read_only;
  std::string id;

  std::string note;                // guarded by write_mutex
  mutable std::mutex write_mutex;  // guards the writer's connection and all that hangs on it
  std::unique_ptr<soci::session> writer;
  std::unique_ptr<JoinIndex> index;  // its find() needs no lock
  std::unique_ptr<InsertBatch> insert_batch;
  std::unique_ptr<UpdateTotals> update_totals;

  mutable std::mutex totals_mutex;  // guards totals
  Totals totals;

  std::mutex readers_mutex;  // guards idle_readers
  std::vector<std::unique_ptr<Reader>> idle_readers;
};

SqliteJournal::SqliteJournal(const std::filesystem::path& directory,
                             const SqliteJournalOptions& options)
    : impl_(std::make_unique<Impl>(directory, options)) {}

SqliteJournal::~SqliteJournal() = default;

EncodedBatch SqliteJournal::encode(const Batch& batch) const { return encode_batch(batch); }
void SqliteJournal::append(std::span<Pending> group, std::string_view note) {
  impl_->append(group, note);
}
std::string SqliteJournal::note() const { return impl_->current_note(); }
void SqliteJournal::sync() { impl_->sync(); }
void SqliteJournal::remove_before(std::uint64_t position) { impl_->remove_before(position); }
std::string SqliteJournal::id() const { return impl_->id; }

StoredBatch SqliteJournal::read(std::uint64_t position) const {
  return impl_->with_reader([&](Reader& reader) {
    const sqlite::CursorScope scope(reader.at);
    reader.at.bind(1, static_cast<std::int64_t>(position));
    if (!reader.at.step()) {
      throw HostError(EPHOR_NOT_FOUND,
                      "journal: there is no batch at position " + std::to_string(position));
    }
    StoredBatch batch;
    fill(reader.at, batch);
    return batch;
  });
}

bool SqliteJournal::next(std::uint64_t from, StoredBatch& batch) const {
  // Nothing can be there: spares the reader that has caught up a look at the file.
  if (!impl_->read_only && from > last_position()) return false;
  return impl_->with_reader([&](Reader& reader) {
    const sqlite::CursorScope scope(reader.from);
    reader.from.bind(1, static_cast<std::int64_t>(from));
    if (!reader.from.step()) return false;
    fill(reader.from, batch);
    return true;
  });
}

std::vector<std::uint64_t> SqliteJournal::find(std::uint64_t key) const {
  return impl_->with_reader([&](Reader& reader) {
    std::vector<std::uint64_t> positions = impl_->index->find(key, reader.pages);
    const sqlite::CursorScope scope(reader.oldest);
    const bool any = reader.oldest.step() && !reader.oldest.is_null(0);
    const auto oldest = any ? static_cast<std::uint64_t>(reader.oldest.integer(0))
                            : std::numeric_limits<std::uint64_t>::max();
    std::erase_if(positions, [&](std::uint64_t position) { return position < oldest; });
    return positions;
  });
}

std::uint64_t SqliteJournal::last_position() const {
  return static_cast<std::uint64_t>(impl_->committed_totals().last_position);
}

std::uint64_t SqliteJournal::oldest_position() const {
  return impl_->with_reader([&](Reader& reader) {
    const sqlite::CursorScope scope(reader.oldest);
    const bool any = reader.oldest.step() && !reader.oldest.is_null(0);
    return any ? static_cast<std::uint64_t>(reader.oldest.integer(0)) : 0;
  });
}

void SqliteJournal::load_recent_ids(std::uint64_t events_max, const IdsVisitor& visitor) const {
  impl_->with_reader([&](Reader& reader) {
    const sqlite::CursorScope scope(reader.recent_ids);
    std::uint64_t left = events_max;
    while (left > 0 && reader.recent_ids.step()) {
      const auto position = static_cast<std::uint64_t>(reader.recent_ids.integer(0));
      std::vector<Hash128> ids;
      try {
        ids = decode_ids(reader.recent_ids.blob(2),
                         static_cast<std::uint64_t>(reader.recent_ids.integer(1)));
      } catch (const std::exception& error) {
        throw HostError(EPHOR_IO, "journal: position " + std::to_string(position) +
                                      ": damaged batch: " + error.what());
      }
      const std::size_t count = std::min<std::uint64_t>(left, ids.size());
      visitor(position, std::span<const Hash128>(ids).last(count));
      left -= count;
    }
  });
}

JournalStats SqliteJournal::stats() const {
  const Totals totals = impl_->committed_totals();
  JournalStats stats;
  stats.batches = static_cast<std::uint64_t>(totals.batches);
  stats.events = static_cast<std::uint64_t>(totals.events);
  stats.record_bytes = static_cast<std::uint64_t>(totals.record_bytes);
  stats.stored_bytes = static_cast<std::uint64_t>(totals.stored_bytes);
  stats.last_position = static_cast<std::uint64_t>(totals.last_position);
  stats.oldest_position = oldest_position();
  return stats;
}

void SqliteJournal::limit_file(std::uint64_t bytes) {
  const std::lock_guard lock(impl_->write_mutex);
  const std::uint64_t pages =
      bytes == 0 ? std::numeric_limits<std::int32_t>::max() - 1 : bytes / kPageBytes;
  try {
    sqlite::execute(*impl_->writer, "PRAGMA max_page_count=" + std::to_string(pages));
  } catch (...) {
    sqlite::rethrow(impl_->path.string());
  }
}

}  // namespace ephor::host
