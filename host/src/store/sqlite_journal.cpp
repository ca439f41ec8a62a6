// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_journal.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/damage_mark.hpp"
#include "store/journal_statements.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/wal_checkpointer.hpp"

namespace ephor::host {
namespace {

using namespace journal;

constexpr int kPageBytes = 4096;
// 4 MiB of log are copied into the file at a time. Above 64 MiB (a long reader held it) the log is
// cut back.
constexpr int kCheckpointPages = 1000;
constexpr int kWalBytesMax = 64 << 20;
constexpr std::size_t kIdleReadersMax = 8;
constexpr long long kPositionsMax = 1LL << 47;  // sequences stay positive numbers

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
      gaps = std::make_unique<GapTable>(*writer, read_only);
      if (!read_only) {
        removed_ids = std::make_unique<RemovedIds>(*writer);
        if (options.must_probe) probe();
        insert_batch = std::make_unique<InsertBatch>(*writer);
        update_totals = std::make_unique<UpdateTotals>(*writer);
        checkpointer = std::make_unique<sqlite::WalCheckpointer>(
            *writer, write_mutex, path, synchronous_of(options.durability), kCheckpointPages);
      }
    } catch (...) {
      sqlite::rethrow(path.string());
    }
  }

  void prepare_for_writing(const SqliteJournalOptions& options) {
    sqlite::execute(*writer,
                    std::string("PRAGMA synchronous=") + synchronous_of(options.durability));
    sqlite::execute(*writer, "PRAGMA journal_size_limit=" + std::to_string(kWalBytesMax));
    // A newer Ephor's file is refused before anything in it changes.
    {
      sqlite::Cursor exists(*writer, "SELECT 1 FROM sqlite_master WHERE name = 'removed_ids'");
      if (exists.step()) return;
    }
    check_version_of_existing();
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

  void check_version_of_existing() {
    {
      sqlite::Cursor exists(*writer, "SELECT 1 FROM sqlite_master WHERE name = 'meta'");
      if (!exists.step()) return;
    }
    check_version();
  }

  void check_version() {
    sqlite::Cursor meta(*writer, "SELECT key, value FROM meta");
    std::int64_t version = 0;
    while (meta.step()) {
      if (meta.text(0) == "format_version") version = meta.integer(1);
      if (meta.text(0) == "id") id = std::string(meta.text(1));
      if (meta.text(0) == "note") note = std::string(meta.text(1));
      if (meta.text(0) == "index_incomplete") is_index_complete = false;
    }
    if (version == 0) throw DamageError(path.string() + ": damaged: it names no format version");
    if (version < 1 || version > kFormatVersion) {
      throw HostError(EPHOR_UNSUPPORTED, path.string() + ": journal format " +
                                             std::to_string(version) + ", this Ephor reads up to " +
                                             std::to_string(kFormatVersion));
    }
  }

  void load_totals() {
    sqlite::Cursor row(
        *writer, "SELECT batches, events, record_bytes, stored_bytes, last_position FROM totals");
    if (!row.step()) throw DamageError(path.string() + ": damaged: its totals are missing");
    totals = {row.integer(0), row.integer(1), row.integer(2), row.integer(3), row.integer(4)};
    if (totals.last_position < 0 || totals.last_position >= kPositionsMax) {
      throw DamageError(path.string() + ": damaged: its totals end at position " +
                        std::to_string(totals.last_position));
    }
  }

  // An append that is undone: what it would write to is sound, or the journal must be recovered
  // before it takes anything. A full disk is no reason not to start.
  void probe() {
    try {
      sqlite::execute(*writer, "BEGIN IMMEDIATE");
      {
        sqlite::Cursor newest(*writer, "SELECT max(position) FROM batches");
        if (newest.step() && newest.integer(0) > totals.last_position) {
          throw DamageError(path.string() + ": damaged: found position " +
                            std::to_string(newest.integer(0)) + ", its totals end at " +
                            std::to_string(totals.last_position));
        }
      }
      const std::string position = std::to_string(totals.last_position + 1);
      sqlite::execute(*writer, "INSERT INTO batches(position, ids, body) VALUES(" + position +
                                   ", zeroblob(100), zeroblob(10000))");
      sqlite::execute(*writer, "INSERT INTO join_tail VALUES(" + position + ", zeroblob(800))");
      sqlite::execute(*writer, "UPDATE totals SET events = events");
      sqlite::execute(*writer, "INSERT INTO meta VALUES('probe', '')");
      sqlite::roll_back(*writer);
    } catch (...) {
      sqlite::roll_back(*writer);
      try {
        sqlite::rethrow(path.string());
      } catch (const HostError& failure) {
        if (failure.status() != EPHOR_FULL) throw;
      }
    }
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
      throw_marked("journal: append to " + path.string());
    }
    note = new_note;
    index->publish();
    set_totals(after);
  }

  void remove_before(std::uint64_t position) {
    RemovalLimits limits;
    limits.before_position = position;
    limits.batches_max = std::numeric_limits<std::int64_t>::max();
    limits.bytes_max = std::numeric_limits<std::uint64_t>::max();
    remove_oldest(limits, 0);
  }

  // What a step takes, and what becomes of its ids.
  struct Taken {
    Removal removal;
    std::int64_t first_position = 0;
    std::int64_t last_position = 0;
    std::uint32_t last_count = 0;
  };

  Removal remove_oldest(const RemovalLimits& limits, std::int64_t now_ns) {
    const std::lock_guard lock(write_mutex);
    require_writable();
    Totals after = committed_totals();
    Taken taken;
    try {
      writer->begin();
      taken = take_oldest(limits, after);
      removed_ids->prune(limits.ids_window, static_cast<std::uint64_t>(after.events));
      if (taken.removal.batches != 0) {
        sqlite::Cursor erase(*writer, "DELETE FROM batches WHERE position <= ?");
        erase.bind(1, taken.last_position);
        erase.step();
        index->remove_before(static_cast<std::uint64_t>(taken.last_position) + 1);
        update_totals->execute(after);
        JournalGap gap;
        gap.first_sequence = sequence_of(static_cast<std::uint64_t>(taken.first_position), 0);
        gap.last_sequence = sequence_of(static_cast<std::uint64_t>(taken.last_position) + 1, 0) - 1;
        gap.batches = taken.removal.batches;
        gap.events = taken.removal.events;
        gap.bytes = taken.removal.bytes;
        gap.why = GapTable::kRetention;
        gap.at_ns = now_ns;
        gaps->add(gap);
      }
      writer->commit();
    } catch (...) {
      abandon();
      throw_marked("journal: remove from " + path.string());
    }
    publish();
    set_totals(after);
    return taken.removal;
  }

  Taken take_oldest(const RemovalLimits& limits, Totals& after) {
    Taken taken;
    constexpr std::uint64_t kBoundMax = std::numeric_limits<std::int64_t>::max();
    sqlite::Cursor row(
        *writer,
        "SELECT position, count, record_bytes, length(ids) + length(body),"
        " arrived_ns, codec FROM batches WHERE position < ? ORDER BY position LIMIT ?");
    row.bind(1, static_cast<std::int64_t>(std::min(limits.before_position, kBoundMax)));
    row.bind(2, static_cast<std::int64_t>(std::min(limits.batches_max, kBoundMax)));
    while (taken.removal.bytes < limits.bytes_max && row.step()) {
      if (row.integer(4) >= limits.arrived_before_ns) break;
      const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(row.integer(1), 0));
      if (taken.removal.batches++ == 0) taken.first_position = row.integer(0);
      taken.last_position = row.integer(0);
      taken.removal.events += count;
      taken.removal.bytes += static_cast<std::uint64_t>(row.integer(3));
      --after.batches;
      after.events -= row.integer(1);
      after.record_bytes -= row.integer(2);
      after.stored_bytes -= row.integer(3);
      const bool is_in_window =
          after.events < static_cast<long long>(std::min(limits.ids_window, kBoundMax));
      if (is_in_window) keep_ids(row.integer(0));
    }
    return taken;
  }

  // Of a batch whose ids cannot be read any more none are kept.
  void keep_ids(std::int64_t position) {
    sqlite::Cursor row(*writer,
                       "SELECT count, codec, record_bytes, ids, body FROM batches"
                       " WHERE position = ?");
    row.bind(1, position);
    if (!row.step()) return;
    try {
      const std::vector<Hash128> ids = decode_ids(
          static_cast<std::uint32_t>(row.integer(1)), row.blob(3), row.blob(4),
          static_cast<std::uint64_t>(row.integer(0)), static_cast<std::uint64_t>(row.integer(2)));
      removed_ids->add(position, row.integer(0),
                       {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(Hash128)});
    } catch (const std::runtime_error&) {
    }
  }

  // The gap is known from now on, whether or not it can be written down.
  bool record_gap(const JournalGap& gap) {
    const std::lock_guard lock(write_mutex);
    if (gaps->covers(gap.first_sequence, gap.last_sequence)) return false;
    try {
      if (!read_only) writer->begin();
      gaps->add(gap);
      if (!read_only) writer->commit();
    } catch (...) {
      if (!read_only) abandon();
      throw_marked("journal: record a gap in " + path.string());
    }
    gaps->publish();
    return true;
  }

  void reserve_through(std::uint64_t position, std::string_view why, std::int64_t now_ns) {
    const std::lock_guard lock(write_mutex);
    require_writable();
    Totals after = committed_totals();
    const auto last = static_cast<std::uint64_t>(after.last_position);
    if (position <= last) return;
    after.last_position = static_cast<long long>(position);
    JournalGap gap;
    gap.first_sequence = sequence_of(last + 1, 0);
    gap.last_sequence = sequence_of(position + 1, 0) - 1;
    gap.batches = position - last;
    gap.why = std::string(why);
    gap.at_ns = now_ns;
    try {
      writer->begin();
      gaps->add(gap);
      update_totals->execute(after);
      writer->commit();
    } catch (...) {
      abandon();
      throw_marked("journal: " + path.string());
    }
    gaps->publish();
    set_totals(after);
  }

  void reindex(const Journal& journal, const KeysOf& keys_of) {
    StoredBatch batch;
    const auto ignore = [](const DamageError&) {};
    constexpr int kBatchesMax = 1'000;  // in one transaction
    std::uint64_t from = 1;
    {
      const std::lock_guard lock(write_mutex);
      require_writable();
      try {
        index->clear();
      } catch (...) {
        throw_marked("journal: index of " + path.string());
      }
    }
    for (bool has_more = true; has_more;) {
      std::vector<std::pair<std::uint64_t, std::vector<std::uint64_t>>> found;
      while (found.size() < kBatchesMax &&
             (has_more = next_readable(journal, from, batch, ignore))) {
        found.emplace_back(batch.position, keys_of(batch));
        from = batch.position + 1;
      }
      const std::lock_guard lock(write_mutex);
      require_writable();
      try {
        writer->begin();
        for (const auto& [position, keys] : found) index->add(position, keys);
        index->flush_if_full();
        if (!has_more) *writer << "DELETE FROM meta WHERE key = 'index_incomplete'";
        writer->commit();
      } catch (...) {
        abandon();
        throw_marked("journal: index of " + path.string());
      }
      publish();
    }
    is_index_complete = true;
  }

  bool merge_index_step() {
    const std::lock_guard lock(write_mutex);
    require_writable();
    bool has_worked = false;
    try {
      has_worked = index->merge_step();
    } catch (...) {
      abandon();
      throw_marked("journal: index of " + path.string());
    }
    return has_worked;
  }

  void publish() {
    index->publish();
    gaps->publish();
    removed_ids->publish();
  }

  void abandon() {
    sqlite::roll_back(*writer);
    index->discard();
    gaps->discard();
    if (removed_ids != nullptr) removed_ids->discard();
  }

  // rethrow(), and where the file's pages are damaged, leaves a mark for the next start.
  [[noreturn]] void throw_marked(const std::string& where) const {
    try {
      sqlite::rethrow(where);
    } catch (const DamageError& damage) {
      if (damage.is_structural && !read_only) mark_as_damaged(path, damage.what());
      throw;
    }
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
      throw_marked("journal: read from " + path.string());
    }
  }

  void give_back(std::unique_ptr<Reader> reader) {
    const std::lock_guard lock(readers_mutex);
    if (reader != nullptr && idle_readers.size() < kIdleReadersMax) {
      idle_readers.push_back(std::move(reader));
    }
  }

  // The damage at `from`, as far as it goes: everything up to the next batch that can be read.
  DamageError damage_at(Reader& reader, std::uint64_t from, const char* found) {
    const auto last = static_cast<std::uint64_t>(committed_totals().last_position);
    std::uint64_t end = from;  // the last that cannot be read
    {
      const std::lock_guard lock(damage_mutex);
      const auto known = unreadable.upper_bound(from);
      if (known != unreadable.begin() && std::prev(known)->second >= from) {
        end = std::prev(known)->second;
        return damage_of(from, end, found);
      }
    }
    while (end < last && !can_read(reader.at, end + 1)) ++end;
    {
      const std::lock_guard lock(damage_mutex);
      unreadable[from] = end;
    }
    const DamageError damage = damage_of(from, end, found);
    if (!read_only) mark_as_damaged(path, damage.what());
    return damage;
  }

  DamageError damage_of(std::uint64_t first, std::uint64_t last, const char* found) const {
    const std::string range = first == last
                                  ? " " + std::to_string(first)
                                  : "s " + std::to_string(first) + " to " + std::to_string(last);
    return DamageError(
        "journal: position" + range + " cannot be read from " + path.string() + ": " + found, true,
        first, last);
  }

  const std::filesystem::path path;
  const bool read_only;
  std::string id;
  std::atomic<bool> is_index_complete{true};

  std::string note;                // guarded by write_mutex
  mutable std::mutex write_mutex;  // guards the writer's connection and all that hangs on it
  std::unique_ptr<soci::session> writer;
  std::unique_ptr<JoinIndex> index;  // its find() needs no lock
  std::unique_ptr<GapTable> gaps;    // neither do all() and covers()
  std::unique_ptr<RemovedIds> removed_ids;
  std::unique_ptr<InsertBatch> insert_batch;
  std::unique_ptr<UpdateTotals> update_totals;

  mutable std::mutex totals_mutex;  // guards totals
  Totals totals;

  std::mutex damage_mutex;                            // guards unreadable
  std::map<std::uint64_t, std::uint64_t> unreadable;  // first position to last

  std::mutex readers_mutex;  // guards idle_readers
  std::vector<std::unique_ptr<Reader>> idle_readers;

  std::unique_ptr<sqlite::WalCheckpointer> checkpointer;  // last: ends before what it uses
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
Removal SqliteJournal::remove_oldest(const RemovalLimits& limits, std::int64_t now_ns) {
  return impl_->remove_oldest(limits, now_ns);
}
void SqliteJournal::reserve_through(std::uint64_t position, std::string_view why,
                                    std::int64_t now_ns) {
  impl_->reserve_through(position, why, now_ns);
}
std::vector<JournalGap> SqliteJournal::gaps() const { return impl_->gaps->all(); }
bool SqliteJournal::record_gap(const JournalGap& gap) { return impl_->record_gap(gap); }
bool SqliteJournal::is_index_complete() const { return impl_->is_index_complete; }
void SqliteJournal::reindex(const KeysOf& keys_of) { impl_->reindex(*this, keys_of); }
bool SqliteJournal::merge_index_step() { return impl_->merge_index_step(); }

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
  // Behind the last position there can be: a reader that goes on from a damaged one must not begin
  // again from the first.
  if (from > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
  // Nothing can be there: spares the reader that has caught up a look at the file.
  if (!impl_->read_only && from > last_position()) return false;
  return impl_->with_reader([&](Reader& reader) {
    try {
      const sqlite::CursorScope scope(reader.from);
      reader.from.bind(1, static_cast<std::int64_t>(from));
      batch.position = 0;
      if (!reader.from.step()) return false;
      if (static_cast<std::uint64_t>(reader.from.integer(0)) < from) {
        throw soci::sqlite3_soci_error("rows out of order", SQLITE_CORRUPT);
      }
      fill(reader.from, batch);
      return true;
    } catch (const soci::sqlite3_soci_error& error) {
      if (!sqlite::is_damage(error.result())) throw;
      // Behind the last position there is nothing to lose; a reader would go on step by step for
      // ever.
      if (from > last_position()) return false;
      const DamageError damage = impl_->damage_at(reader, from, error.what());
      batch.position = damage.last_position;
      throw damage;
    }
  });
}

std::vector<std::uint64_t> SqliteJournal::find(std::span<const std::uint64_t> keys) const {
  return impl_->with_reader([&](Reader& reader) {
    std::vector<std::uint64_t> positions = impl_->index->find(keys, reader.pages);
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
  return impl_->with_reader([&](Reader& reader) -> std::uint64_t {
    try {
      const sqlite::CursorScope scope(reader.oldest);
      const bool any = reader.oldest.step() && !reader.oldest.is_null(0);
      return any ? static_cast<std::uint64_t>(reader.oldest.integer(0)) : 0;
    } catch (const soci::sqlite3_soci_error& error) {
      if (!sqlite::is_damage(error.result())) throw;
      const std::vector<JournalGap> gaps = impl_->gaps->all();
      const std::uint64_t begin = gaps.empty() || gaps[0].first_sequence > sequence_of(1, 0)
                                      ? 1
                                      : position_of(gaps[0].last_sequence) + 1;
      const std::uint64_t first = impl_->damage_at(reader, begin, error.what()).last_position + 1;
      return first <= last_position() ? first : 0;
    }
  });
}

namespace {

// Of the row that `reader.recent_ids` stands at; none if it is damaged: readers of the batch say
// what is wrong with it.
std::optional<std::vector<Hash128>> ids_of(Reader& reader, std::uint64_t position) {
  const sqlite::Cursor& row = reader.recent_ids;
  const auto codec = static_cast<std::uint32_t>(row.integer(3));
  const sqlite::CursorScope scope(reader.body_at);
  std::string_view body;
  try {
    if (codec == kCodecSpans) {
      reader.body_at.bind(1, static_cast<std::int64_t>(position));
      if (reader.body_at.step()) body = reader.body_at.blob(0);
    }
    return decode_ids(codec, row.blob(2), body, static_cast<std::uint64_t>(row.integer(1)),
                      static_cast<std::uint64_t>(row.integer(4)));
  } catch (const soci::sqlite3_soci_error& error) {
    if (!sqlite::is_damage(error.result())) throw;
    return std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

void SqliteJournal::load_recent_ids(std::uint64_t events_max, const IdsVisitor& visitor) const {
  std::uint64_t left = events_max;
  const auto give = [&](std::uint64_t position, const std::vector<Hash128>& ids) {
    const std::size_t count = std::min<std::uint64_t>(left, ids.size());
    visitor(position, std::span<const Hash128>(ids).last(count));
    left -= count;
  };
  impl_->with_reader([&](Reader& reader) {
    for (std::uint64_t at = last_position(); at != 0 && left > 0;) {
      try {
        const sqlite::CursorScope scope(reader.recent_ids);
        reader.recent_ids.bind(1, static_cast<std::int64_t>(at));
        while (left > 0 && reader.recent_ids.step()) {
          at = static_cast<std::uint64_t>(reader.recent_ids.integer(0));
          if (const auto ids = ids_of(reader, at)) give(at, *ids);
          --at;
        }
        break;
      } catch (const soci::sqlite3_soci_error& error) {
        if (!sqlite::is_damage(error.result())) throw;
        while (at != 0 && !can_read(reader.ids_at, at)) --at;
      }
    }
    if (left == 0) return;
    sqlite::Cursor exists(*reader.session,
                          "SELECT 1 FROM sqlite_master WHERE name = 'removed_ids'");
    if (!exists.step()) return;  // a file of an older Ephor, opened for reading
    sqlite::Cursor removed(*reader.session,
                           "SELECT position, count, ids FROM removed_ids ORDER BY position DESC");
    while (left > 0 && removed.step()) {
      try {
        const auto ids = decode_ids(kCodecZstd1, removed.blob(2), {},
                                    static_cast<std::uint64_t>(removed.integer(1)), 0);
        give(static_cast<std::uint64_t>(removed.integer(0)), ids);
      } catch (const std::runtime_error&) {  // damaged
      }
    }
  });
}

std::int64_t SqliteJournal::oldest_arrival_ns() const {
  return impl_->with_reader([&](Reader& reader) -> std::int64_t {
    const sqlite::CursorScope scope(reader.oldest_arrival);
    return reader.oldest_arrival.step() ? reader.oldest_arrival.integer(0) : 0;
  });
}

SqliteJournal::Size SqliteJournal::size() const {
  Size size;
  impl_->with_reader([&](Reader& reader) {
    const sqlite::CursorScope scope(reader.page_counts);
    if (!reader.page_counts.step()) return;
    size.file_bytes = static_cast<std::uint64_t>(reader.page_counts.integer(0)) * kPageBytes;
    size.free_bytes = static_cast<std::uint64_t>(reader.page_counts.integer(1)) * kPageBytes;
  });
  size.index_runs = impl_->index->run_count();
  const std::lock_guard lock(impl_->write_mutex);
  if (impl_->removed_ids != nullptr) size.removed_ids = impl_->removed_ids->events();
  return size;
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

bool next_readable(const Journal& journal, std::uint64_t from, StoredBatch& batch,
                   const std::function<void(const DamageError&)>& on_damage) {
  for (;;) {
    try {
      return journal.next(from, batch);
    } catch (const DamageError& damage) {
      on_damage(damage);
      if (damage.last_position < from) throw;  // it does not say where to go on
      from = damage.last_position + 1;
    }
  }
}

}  // namespace ephor::host
