// SPDX-License-Identifier: Apache-2.0
#include "store/journal_recovery.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/damage_mark.hpp"
#include "store/gap_table.hpp"
#include "store/page_scan.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/sqlite_journal.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;
using Kind = ScannedValue::Kind;

constexpr const char* kWorkshop = "journal.recovering";
constexpr std::size_t kBatchColumns = 11;
constexpr int kRowsInTransaction = 1'000;

bool has_kinds(const ScannedRow& row, std::initializer_list<Kind> kinds) {
  return std::equal(row.values.begin(), row.values.end(), kinds.begin(), kinds.end(),
                    [](const ScannedValue& value, Kind kind) { return value.kind == kind; });
}

std::uint64_t count_of(const ScannedValue& value) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(value.integer, 0));
}

struct Place {
  std::int64_t position = 0;
  std::uint32_t page = 0;
  std::uint32_t offset = 0;
  std::uint32_t count = 0;
  std::uint64_t record_bytes = 0;
  std::uint64_t stored_bytes = 0;
};

struct KeptIds {
  std::int64_t position = 0;
  std::int64_t count = 0;
  std::string ids;
};

// What the pages of the old file say. A page that is free by now may repeat what has changed since,
// so of facts that only grow the greatest counts.
struct Findings {
  std::string id;
  std::string note;
  std::int64_t last_position = 0;
  std::int64_t rows_max = 0;   // more do not fit into the file
  std::vector<Place> batches;  // whole ones
  std::vector<KeptIds> removed_ids;
  std::vector<JournalGap> gaps;

  void look_at(const ScannedRow& row) {
    if (row.values.size() == kBatchColumns) {
      if (is_whole_batch(row)) {
        batches.push_back(
            {row.rowid, row.page, row.offset, static_cast<std::uint32_t>(row.values[6].integer),
             count_of(row.values[7]), row.values[9].bytes.size() + row.values[10].bytes.size()});
      }
    } else if (has_kinds(row, {Kind::text, Kind::text})) {
      if (row.values[0].bytes == "id" && row.values[1].bytes.size() == 32) {
        id = row.values[1].bytes;
      }
      if (row.values[0].bytes == "note") note = row.values[1].bytes;
    } else if (row.rowid == 1 && has_kinds(row, {Kind::null, Kind::integer, Kind::integer,
                                                 Kind::integer, Kind::integer, Kind::integer})) {
      last_position = std::max(last_position, row.values[5].integer);
    } else if (has_kinds(row, {Kind::null, Kind::integer, Kind::blob})) {
      const KeptIds kept{row.rowid, row.values[1].integer, row.values[2].bytes};
      if (kept.count > 0 && kept.ids.size() == static_cast<std::uint64_t>(kept.count) * 16) {
        removed_ids.push_back(kept);
      }
    } else if (row.values.size() == 7 && row.values[0].kind == Kind::null &&
               row.values[5].kind == Kind::text && row.rowid > 0) {
      look_at_gap(row);
    }
  }

  void look_at_gap(const ScannedRow& row) {
    JournalGap gap;
    gap.first_sequence = static_cast<std::uint64_t>(row.rowid);
    gap.last_sequence = count_of(row.values[1]);
    gap.batches = count_of(row.values[2]);
    if (row.values[3].kind == Kind::integer) gap.events = count_of(row.values[3]);
    gap.bytes = count_of(row.values[4]);
    gap.why = row.values[5].bytes;
    gap.at_ns = row.values[6].integer;
    if (gap.last_sequence < gap.first_sequence) return;
    const std::uint64_t span = position_of(gap.last_sequence) - position_of(gap.first_sequence) + 1;
    constexpr std::uint64_t kSlack = 1'000'000;
    if (gap.batches > span || span - gap.batches > kSlack) return;  // a damaged row
    const auto same = std::find_if(gaps.begin(), gaps.end(), [&](const JournalGap& known) {
      return known.first_sequence == gap.first_sequence;
    });
    if (same == gaps.end()) {
      gaps.push_back(std::move(gap));
    } else if (same->last_sequence < gap.last_sequence) {
      *same = std::move(gap);
    }
  }

  // Ascending, each once, without what retention had removed.
  void put_in_order() {
    std::stable_sort(batches.begin(), batches.end(),
                     [](const Place& a, const Place& b) { return a.position < b.position; });
    batches.erase(
        std::unique(batches.begin(), batches.end(),
                    [](const Place& a, const Place& b) { return a.position == b.position; }),
        batches.end());
    std::erase_if(batches, [&](const Place& place) {
      const std::uint64_t first = sequence_of(static_cast<std::uint64_t>(place.position), 0);
      return std::any_of(gaps.begin(), gaps.end(), [&](const JournalGap& gap) {
        return gap.why == GapTable::kRetention && gap.first_sequence <= first &&
               first <= gap.last_sequence;
      });
    });
    std::int64_t known = batches.empty() ? 0 : batches.back().position;
    for (const JournalGap& gap : gaps) {
      known = std::max(known, static_cast<std::int64_t>(position_of(gap.last_sequence)));
    }
    // Whatever lies behind is in the file in some form: the totals have no checksum.
    if (last_position > known + rows_max) last_position = known;
    last_position = std::max(last_position, known);
  }
};

// A transaction now and then.
class Writer {
 public:
  explicit Writer(soci::session& session) : session_(session) { session_.begin(); }
  ~Writer() { sqlite::roll_back(session_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void row_done() {
    if (++rows_ % kRowsInTransaction != 0) return;
    session_.commit();
    session_.begin();
  }
  void finish() { session_.commit(); }

 private:
  soci::session& session_;
  int rows_ = 0;
};

void copy_batches(const PageFile& from, const std::vector<Place>& places, soci::session& session,
                  Writer& writer) {
  sqlite::Cursor insert(session, "INSERT INTO batches VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  ScannedRow row;
  for (const Place& place : places) {
    if (!read_row(from, place.page, place.offset, row)) continue;
    const sqlite::CursorScope scope(insert);
    insert.bind(1, row.rowid);
    for (int column = 1; column <= 8; ++column) {
      insert.bind(column + 1, row.values[static_cast<std::size_t>(column)].integer);
    }
    insert.bind_blob(10, row.values[9].bytes);
    insert.bind_blob(11, row.values[10].bytes);
    insert.step();
    writer.row_done();
  }
}

void copy_ids(const std::vector<KeptIds>& all, soci::session& session, Writer& writer) {
  sqlite::Cursor insert(session, "INSERT OR REPLACE INTO removed_ids VALUES(?, ?, ?)");
  for (const KeptIds& kept : all) {
    const sqlite::CursorScope scope(insert);
    insert.bind(1, kept.position);
    insert.bind(2, kept.count);
    insert.bind_blob(3, kept.ids);
    insert.step();
    writer.row_done();
  }
}

void write_totals(const Findings& found, soci::session& session) {
  long long batches = 0;
  long long events = 0;
  long long record_bytes = 0;
  long long stored_bytes = 0;
  const long long last_position = found.last_position;
  for (const Place& place : found.batches) {
    ++batches;
    events += place.count;
    record_bytes += static_cast<long long>(place.record_bytes);
    stored_bytes += static_cast<long long>(place.stored_bytes);
  }
  session << "UPDATE totals SET batches = :a, events = :b, record_bytes = :c, stored_bytes = :d,"
             " last_position = :e",
      soci::use(batches), soci::use(events), soci::use(record_bytes), soci::use(stored_bytes),
      soci::use(last_position);
  if (!found.id.empty()) {
    session << "UPDATE meta SET value = :v WHERE key = 'id'", soci::use(found.id);
  }
  if (!found.note.empty()) {
    session << "INSERT OR REPLACE INTO meta VALUES('note', :v)", soci::use(found.note);
  }
  session << "INSERT OR REPLACE INTO meta VALUES('index_incomplete', '1')";
}

// Positions that are neither there nor in a known gap.
std::vector<JournalGap> new_gaps(const Findings& found, const std::string& why,
                                 std::int64_t now_ns) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> covered;  // positions
  for (const Place& place : found.batches) {
    covered.emplace_back(place.position, place.position);
  }
  for (const JournalGap& gap : found.gaps) {
    covered.emplace_back(position_of(gap.first_sequence), position_of(gap.last_sequence));
  }
  const auto last = static_cast<std::uint64_t>(found.last_position);
  covered.emplace_back(last + 1, last + 1);
  std::sort(covered.begin(), covered.end());
  std::vector<JournalGap> gaps;
  std::uint64_t open = 1;
  for (const auto& [first, end] : covered) {
    if (first > open) {
      JournalGap gap;
      gap.first_sequence = sequence_of(open, 0);
      gap.last_sequence = sequence_of(first, 0) - 1;
      gap.batches = first - open;
      gap.why = why;
      gap.at_ns = now_ns;
      gaps.push_back(std::move(gap));
    }
    open = std::max(open, end + 1);
  }
  return gaps;
}

void write_new(const fs::path& directory, const PageFile& from, const Findings& found,
               const std::vector<JournalGap>& gaps) {
  SqliteJournalOptions options;
  options.durability = Durability::normal;
  {
    SqliteJournal made(directory, options);  // its tables
    for (const JournalGap& gap : found.gaps) made.record_gap(gap);
    for (const JournalGap& gap : gaps) made.record_gap(gap);
  }
  const fs::path file = directory / "journal.db";
  try {
    const auto session = sqlite::open(file, sqlite::OpenMode::existing);
    {
      Writer writer(*session);
      copy_batches(from, found.batches, *session, writer);
      copy_ids(found.removed_ids, *session, writer);
      write_totals(found, *session);
      writer.finish();
    }
    sqlite::execute(*session, "PRAGMA wal_checkpoint(TRUNCATE)");
  } catch (...) {
    sqlite::rethrow(file.string());
  }
}

}  // namespace

bool is_whole_batch(const ScannedRow& row) {
  if (!has_kinds(row, {Kind::null, Kind::integer, Kind::integer, Kind::integer, Kind::integer,
                       Kind::integer, Kind::integer, Kind::integer, Kind::integer, Kind::blob,
                       Kind::blob}) ||
      row.rowid <= 0 || row.rowid >= (std::int64_t{1} << 47)) {
    return false;
  }
  const std::int64_t count = row.values[6].integer;
  const auto position = static_cast<std::uint64_t>(row.rowid);
  if (count <= 0 || count > kBatchEventsMax ||
      row.values[1].integer != static_cast<std::int64_t>(sequence_of(position, 0)) ||
      row.values[2].integer != row.values[1].integer + count - 1) {
    return false;
  }
  try {
    StoredBatch batch;
    decode_body(static_cast<std::uint32_t>(row.values[8].integer), row.values[10].bytes,
                static_cast<std::uint64_t>(count), count_of(row.values[7]), batch);
    read_stored_ids(row.values[9].bytes, batch);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void finish_recovery(const fs::path& directory) {
  const fs::path made = directory / kWorkshop / "journal.db";
  if (fs::exists(directory / "journal.db") || !fs::exists(made)) return;
  fs::rename(made, directory / "journal.db");
}

Recovery recover_journal(const fs::path& directory, std::int64_t now_ns) {
  const fs::path file = directory / "journal.db";
  const fs::path workshop = directory / kWorkshop;
  std::error_code failure;
  fs::remove_all(workshop, failure);  // of a recovery that was cut short
  fs::create_directories(workshop, failure);
  if (failure) throw HostError(EPHOR_IO, workshop.string() + ": " + failure.message());

  Recovery recovery;
  {
    const PageFile from(file);
    Findings found;
    constexpr std::int64_t kRowBytesMin = 32;
    found.rows_max = std::int64_t{from.page_count()} * from.page_size() / kRowBytesMin;
    scan_rows(from, [&](const ScannedRow& row) { found.look_at(row); });
    found.put_in_order();
    recovery.gaps = new_gaps(found, "damaged: not found in the pages of the journal", now_ns);
    recovery.batches = found.batches.size();
    for (const Place& place : found.batches) recovery.events += place.count;
    write_new(workshop, from, found, recovery.gaps);
  }
  recovery.set_aside = set_aside(file, now_ns);
  for (const char* part : {"-wal", "-shm"}) {  // empty by now
    fs::remove((workshop / "journal.db") += part, failure);
  }
  fs::rename(workshop / "journal.db", file, failure);
  if (failure) throw HostError(EPHOR_IO, file.string() + ": " + failure.message());
  fs::remove_all(workshop, failure);
  return recovery;
}

}  // namespace ephor::host
