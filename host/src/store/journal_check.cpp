// SPDX-License-Identifier: Apache-2.0
#include "store/journal_check.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/gap_table.hpp"
#include "store/join_index.hpp"
#include "store/page_scan.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host {
namespace {

constexpr int kStructureFaultsMax = 100;
constexpr std::size_t kBatchColumnCount = 11;
constexpr const char* kColumns =
    "SELECT position, arrived_ns, count, record_bytes, codec, ids, body, first_seq, last_seq,"
    " t_min, t_max FROM batches ";

struct Sums {
  std::int64_t batches = 0;
  std::int64_t events = 0;
  std::int64_t record_bytes = 0;
  std::int64_t stored_bytes = 0;
};

std::uint64_t mixed(std::uint64_t key, std::uint64_t position) {
  const std::uint64_t both[] = {key, position};
  return hash64({reinterpret_cast<const char*>(both), sizeof both});
}

class Checker {
 public:
  Checker(const std::filesystem::path& directory, const KeysOf& keys_of)
      : file_(directory / "journal.db"), keys_of_(keys_of) {}

  JournalCheck run() {
    const auto session = sqlite::open(file_, sqlite::OpenMode::existing);
    try {
      sqlite::execute(*session, "PRAGMA query_only=ON");
      sqlite::execute(*session, "BEGIN");  // one instant for all that follows
      for (std::string& fault : sqlite::integrity_faults(*session, false, kStructureFaultsMax)) {
        add(0, "structure: " + fault, place_in(fault));
      }
      guarded("gaps", [&] {
        gaps_.emplace(*session, true);
        check_.gaps = gaps_->all();
      });
      guarded("totals", [&] { read_totals(*session); });
      guarded("index", [&] { load_index(*session); });
      check_batches(*session);
      check_totals();
    } catch (const std::exception& failure) {
      add(0, failure.what());
    }
    sqlite::roll_back(*session);
    find_places();
    return std::move(check_);
  }

 private:
  void add(std::uint64_t position, std::string what, std::string place = {}) {
    check_.faults.push_back({position, std::move(place), std::move(what)});
  }

  template <typename Body>
  void guarded(const char* what, Body&& body) {
    try {
      body();
    } catch (const std::exception& failure) {
      add(0, std::string(what) + ": " + failure.what());
    }
  }

  // SQLite names pages: "Tree 5 page 123 cell 4: ...".
  std::string place_in(const std::string& fault) const {
    const std::size_t at = fault.find("page ");
    if (at == std::string::npos) return {};
    const unsigned long page = std::strtoul(fault.c_str() + at + 5, nullptr, 10);
    if (page == 0 || page > UINT32_MAX) return {};
    try {
      return PageFile(file_).place_of(static_cast<std::uint32_t>(page), 0);
    } catch (const std::exception&) {
      return {};
    }
  }

  void read_totals(soci::session& session) {
    sqlite::Cursor row(session,
                       "SELECT batches, events, record_bytes, stored_bytes, last_position"
                       " FROM totals");
    if (!row.step()) return add(0, "totals: found no row, expected one");
    totals_ = {row.integer(0), row.integer(1), row.integer(2), row.integer(3)};
    last_position_ = static_cast<std::uint64_t>(row.integer(4));
  }

  void load_index(soci::session& session) {
    const JoinIndex index(session, JoinIndex::kRunEntries, true);
    JoinIndex::Pages pages(session);
    index.visit(pages, [&](std::uint64_t key, std::uint64_t position) {
      entries_.push_back(mixed(key, position));
    });
    std::sort(entries_.begin(), entries_.end());
    has_index_ = true;
  }

  void check_batches(soci::session& session) {
    sqlite::Cursor at(session, std::string(kColumns) + "WHERE position = ?");
    std::uint64_t from = 1;
    for (bool is_done = false; !is_done;) {
      try {
        sqlite::Cursor rows(session,
                            std::string(kColumns) + "WHERE position >= ? ORDER BY position");
        rows.bind(1, static_cast<std::int64_t>(from));
        while (rows.step()) {
          const auto position = static_cast<std::uint64_t>(rows.integer(0));
          if (position < from) {
            add(position, "found it behind position " + std::to_string(from - 1));
            continue;
          }
          expect_gap(from, position);
          check_batch(rows, position);
          from = position + 1;
        }
        is_done = true;
      } catch (const soci::sqlite3_soci_error& failure) {
        if (!sqlite::is_damage(failure.result())) throw;
        const std::uint64_t first = from;
        while (from <= last_position_ && !can_read(at, from)) ++from;
        add(first, "cannot be read, up to position " +
                       std::to_string(std::max(from, first + 1) - 1) + ": " + failure.what());
        from = std::max(from, first + 1);
        is_done = from > last_position_;
      }
    }
    expect_gap(from, last_position_ + 1);
  }

  static bool can_read(sqlite::Cursor& at, std::uint64_t position) {
    try {
      const sqlite::CursorScope scope(at);
      at.bind(1, static_cast<std::int64_t>(position));
      return at.step();
    } catch (const soci::sqlite3_soci_error&) {
      return false;
    }
  }

  void expect_gap(std::uint64_t from, std::uint64_t end) {
    if (from >= end) return;
    const bool is_known = gaps_ && gaps_->covers(sequence_of(from, 0), sequence_of(end, 0) - 1);
    if (is_known) return;
    add(from, "missing up to position " + std::to_string(end - 1) + ", and no gap is recorded");
  }

  void check_batch(const sqlite::Cursor& row, std::uint64_t position) {
    const std::int64_t count = row.integer(2);
    ++sums_.batches;
    sums_.events += count;
    sums_.record_bytes += row.integer(3);
    sums_.stored_bytes += static_cast<std::int64_t>(row.blob(5).size() + row.blob(6).size());
    StoredBatch batch;
    batch.position = position;
    batch.arrived_ns = row.integer(1);
    try {
      decode_body(static_cast<std::uint32_t>(row.integer(4)), row.blob(6),
                  static_cast<std::uint64_t>(count), static_cast<std::uint64_t>(row.integer(3)),
                  batch);
      read_stored_ids(row.blob(5), batch);
    } catch (const std::exception& damage) {
      return add(position, std::string("damaged batch: ") + damage.what());
    }
    ++check_.batches;
    check_.events += batch.records.size();
    check_facts(row, batch);
    if (!has_index_) return;
    std::uint64_t missing = 0;
    for (const std::uint64_t key : keys_of_(batch)) {
      missing += std::binary_search(entries_.begin(), entries_.end(), mixed(key, position)) ? 0 : 1;
    }
    if (missing != 0) {
      add(position, std::to_string(missing) + " join keys are not in the index");
    }
  }

  void check_facts(const sqlite::Cursor& row, const StoredBatch& batch) {
    std::int64_t bytes = 0;
    std::int64_t time_min = INT64_MAX;
    std::int64_t time_max = INT64_MIN;
    for (const StoredRecord& record : batch.records) {
      bytes += record.length;
      time_min = std::min(time_min, record.time_ns);
      time_max = std::max(time_max, record.time_ns);
    }
    const auto expect = [&](const char* name, int column, std::int64_t expected) {
      if (row.integer(column) == expected) return;
      add(batch.position, std::string(name) + ": found " + std::to_string(row.integer(column)) +
                              ", expected " + std::to_string(expected));
    };
    const auto count = static_cast<std::uint32_t>(batch.records.size());
    expect("first_seq", 7, static_cast<std::int64_t>(sequence_of(batch.position, 0)));
    expect("last_seq", 8, static_cast<std::int64_t>(sequence_of(batch.position, count - 1)));
    expect("record_bytes", 3, bytes);
    expect("t_min", 9, time_min);
    expect("t_max", 10, time_max);
  }

  void check_totals() {
    const auto expect = [&](const char* name, std::int64_t found, std::int64_t expected) {
      if (found == expected) return;
      add(0, std::string("totals.") + name + ": found " + std::to_string(found) +
                 ", the batches make " + std::to_string(expected));
    };
    expect("batches", totals_.batches, sums_.batches);
    expect("events", totals_.events, sums_.events);
    expect("record_bytes", totals_.record_bytes, sums_.record_bytes);
    expect("stored_bytes", totals_.stored_bytes, sums_.stored_bytes);
  }

  // Where the rows at fault begin, found by looking at the pages.
  void find_places() {
    std::multimap<std::int64_t, JournalFault*> wanted;
    for (JournalFault& fault : check_.faults) {
      if (fault.position == 0 || !fault.place.empty()) continue;
      wanted.emplace(static_cast<std::int64_t>(fault.position), &fault);
    }
    if (wanted.empty()) return;
    guarded("places", [&] {
      const PageFile pages(file_);
      scan_cells(pages, [&](const CellPlace& cell) {
        if (cell.columns != kBatchColumnCount) return;
        const auto [first, end] = wanted.equal_range(cell.rowid);
        for (auto one = first; one != end; ++one) {
          one->second->place = pages.place_of(cell.page, cell.offset);
        }
      });
    });
  }

  const std::filesystem::path file_;
  const KeysOf& keys_of_;
  JournalCheck check_;
  std::optional<GapTable> gaps_;
  Sums totals_;
  Sums sums_;
  std::uint64_t last_position_ = 0;
  std::vector<std::uint64_t> entries_;  // mixed(key, position), sorted
  bool has_index_ = false;
};

}  // namespace

JournalCheck check_journal(const std::filesystem::path& directory, const KeysOf& keys_of) {
  return Checker(directory, keys_of).run();
}

}  // namespace ephor::host
