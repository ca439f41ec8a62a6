// SPDX-License-Identifier: Apache-2.0
//
// Damaged journals. A sound small journal is made once; each input is a list of changes to a copy
// of it, which is then opened and read through. Only a HostError may come out, reading must end,
// and no memory may be asked for that the file does not justify (-malloc_limit_mb).
//
// First byte: bit 0 the newest batches are still in the -wal, bit 1 opened for reading only. Then
// operations, each one byte (see Operation) with its operands.
#include <zstd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <vector>

#include <unistd.h>

#include "event/error.hpp"
#include "fuzz.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/sqlite_journal.hpp"
#if __has_include("store/journal_recovery.hpp")
#include "store/journal_recovery.hpp"
#define EPHOR_HAS_RECOVERY
#endif

namespace {

namespace fs = std::filesystem;
using namespace ephor::host;
using ephor::fuzz::Input;

enum class Operation : std::uint8_t {
  set_database_byte,  // offset u24, value
  set_log_byte,       // the same in the -wal
  cut_database,       // size u24
  cut_log,
  fill_page,      // page u8, value
  swap_pages,     // page u8, page u8
  write_run,      // offset u24, length u8, bytes
  set_column,     // column u8, row u8, kind u8, value; the file stays a sound database
  replace_frame,  // row u8, length u8, bytes that are compressed: what the checksum would catch
  count,
};

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint64_t kKey = 7;  // a join key of every batch
constexpr const char* kColumns[] = {"batches.position",
                                    "batches.count",
                                    "batches.record_bytes",
                                    "batches.codec",
                                    "batches.ids",
                                    "batches.body",
                                    "batches.arrived_ns",
                                    "totals.batches",
                                    "totals.events",
                                    "totals.last_position",
                                    "totals.record_bytes",
                                    "meta.value",
                                    "join_tail.position",
                                    "join_tail.keys",
                                    "join_runs.first_page",
                                    "join_runs.first_position",
                                    "join_runs.last_position",
                                    "join_runs.fences",
                                    "join_pages.page",
                                    "join_pages.body"};

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

struct Files {
  std::string database;
  std::string log;
};

// A folder of this process in memory, if there is such a place.
class Workplace {
 public:
  Workplace() {
    std::error_code ignored;
    const fs::path base =
        fs::is_directory("/dev/shm", ignored) ? "/dev/shm" : fs::temp_directory_path();
    std::string pattern = (base / "ephor-fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) ephor::fuzz::broken(__FILE__, __LINE__, "mkdtemp");
    path_ = pattern;
  }
  ~Workplace() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  fs::path database() const { return path_ / "journal.db"; }
  fs::path log() const { return path_ / "journal.db-wal"; }
  const fs::path& path() const { return path_; }

  void lay_out(const Files& files) const {
    for (const auto& entry : fs::directory_iterator(path_)) fs::remove_all(entry.path());
    write(database(), files.database);
    if (!files.log.empty()) write(log(), files.log);
  }
  Files take() const {
    return {bytes_of(database()), fs::exists(log()) ? bytes_of(log()) : std::string()};
  }

 private:
  fs::path path_;
};

Batch batch_of(std::uint64_t number, std::size_t record_count, std::size_t padding) {
  Batch batch;
  batch.arrived_ns = 1'700'000'000'000'000'000;
  const std::string record = "{\"specversion\":\"1.0\",\"id\":\"" + std::to_string(number) +
                             "\",\"source\":\"s\",\"type\":\"t\",\"data\":\"" +
                             std::string(padding, 'x') + "\"}";
  Buffer buffer(record.size() * record_count);
  buffer.set_size(record.size() * record_count);
  for (std::size_t i = 0; i < record_count; ++i) {
    char* const at = buffer.data() + i * record.size();
    std::memcpy(at, record.data(), record.size());
    ephor_event event{};
    event.record = at;
    event.record_length = static_cast<std::uint32_t>(record.size());
    event.time_ns = static_cast<std::int64_t>(number * 1'000 + i);
    batch.events.push_back(event);
    batch.ids.push_back(hash128(record + std::to_string(i)));
    batch.join_keys.push_back(number * 1'000 + i + 100);
  }
  batch.join_keys.insert(batch.join_keys.begin(), kKey);
  batch.buffers.push_back(std::move(buffer));
  return batch;
}

void append(SqliteJournal& journal, std::uint64_t number, std::size_t records,
            std::size_t padding) {
  Batch batch = batch_of(number, records, padding);
  std::vector<Pending> group(1);
  group[0] = {&batch, journal.encode(batch)};
  journal.append(group, "note " + std::to_string(number));
}

constexpr SqliteJournalOptions kOptions{.durability = Durability::off, .index_run_entries = 64};

// [0]: all in the database; [1]: the last batches in the -wal.
const Files& sound_files(bool has_log) {
  static const std::vector<Files> made = [] {
    std::vector<Files> out;
    const Workplace place;
    {
      SqliteJournal journal(place.path(), kOptions);
      for (std::uint64_t i = 1; i <= 4; ++i) append(journal, i, 30, i);
      append(journal, 5, 400, 100);  // ids and keys on overflow pages
    }
    out.push_back(place.take());
    SqliteJournal journal(place.path(), kOptions);
    for (std::uint64_t i = 6; i <= 8; ++i) append(journal, i, 5, i);
    out.push_back(place.take());
    return out;
  }();
  return made[has_log ? 1 : 0];
}

void damage_bytes(Operation operation, Input& input, Files& files) {
  const bool is_log = operation == Operation::set_log_byte || operation == Operation::cut_log;
  std::string& bytes = is_log ? files.log : files.database;
  const std::size_t page_count = std::max<std::size_t>(1, bytes.size() / kPageBytes);
  const auto page = [&] { return (input.number(1) % page_count) * kPageBytes; };
  if (bytes.size() < kPageBytes) return;
  switch (operation) {
    case Operation::set_database_byte:
    case Operation::set_log_byte: {
      const std::size_t at = input.number(3) % bytes.size();
      bytes[at] = static_cast<char>(input.number(1));
      return;
    }
    case Operation::cut_database:
    case Operation::cut_log:
      bytes.resize(input.number(3) % bytes.size());
      return;
    case Operation::fill_page: {
      const std::size_t at = page();
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), kPageBytes,
                  static_cast<char>(input.number(1)));
      return;
    }
    case Operation::swap_pages: {
      const std::size_t one = page();
      const std::size_t other = page();
      std::swap_ranges(bytes.data() + one, bytes.data() + one + kPageBytes, bytes.data() + other);
      return;
    }
    default: {
      const std::size_t at = input.number(3) % bytes.size();
      const std::string_view run = input.text(input.number(1));
      bytes.replace(at, std::min(run.size(), bytes.size() - at), run.substr(0, bytes.size() - at));
      return;
    }
  }
}

std::string literal(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out = "x'";
  for (const char byte : bytes) {
    out += kDigits[static_cast<std::uint8_t>(byte) >> 4U];
    out += kDigits[static_cast<std::uint8_t>(byte) & 15U];
  }
  return out + "'";
}

std::string column_change(Input& input) {
  const std::string_view name = kColumns[input.number(1) % std::size(kColumns)];
  const std::string table(name.substr(0, name.find('.')));
  const std::string column(name.substr(name.find('.') + 1));
  const std::string row = std::to_string(input.number(1) % 16);
  std::string value = "NULL";
  switch (input.number(1) % 5) {
    case 0:
      value = std::to_string(static_cast<std::int64_t>(input.number(8)));
      if (value == std::to_string(std::numeric_limits<std::int64_t>::min())) value = "0";
      break;
    case 1:
      value = literal(input.text(input.number(1)));
      break;
    case 2:
      value = "zeroblob(" + std::to_string(input.number(2)) + ")";
      break;
    case 3:
      value = column + " + " + std::to_string(static_cast<std::int8_t>(input.number(1)));
      break;
    default:
      break;
  }
  return "UPDATE " + table + " SET " + column + " = " + value +
         " WHERE rowid IN (SELECT rowid FROM " + table + " LIMIT 1 OFFSET " + row + ")";
}

std::string frame_change(Input& input) {
  const std::string position = std::to_string(1 + input.number(1) % 8);
  const std::string_view plain = input.text(input.number(1));
  std::string frame(ZSTD_compressBound(plain.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), plain.data(), plain.size(), 1));
  return "UPDATE batches SET body = " + literal(frame) + " WHERE position = " + position;
}

// Values that lie, in a database SQLite finds nothing wrong with.
void damage_values(const std::vector<std::string>& changes, const Workplace& place) {
  const auto session = sqlite::open(place.database(), sqlite::OpenMode::existing);
  sqlite::execute(*session, "PRAGMA synchronous=OFF");
  for (const std::string& change : changes) {
    try {
      sqlite::execute(*session, change);
    } catch (const soci::soci_error&) {
      continue;  // a key that is there already
    }
  }
}

void lay_out_damaged(Input& input, bool has_log, const Workplace& place) {
  std::vector<std::string> changes;
  Files files = sound_files(has_log);
  bool is_database_changed = false;
  for (int i = 0; i < 16 && !input.is_used_up(); ++i) {
    const auto operation =
        static_cast<Operation>(input.number(1) % static_cast<std::uint8_t>(Operation::count));
    if (operation == Operation::set_column) {
      changes.push_back(column_change(input));
    } else if (operation == Operation::replace_frame) {
      changes.push_back(frame_change(input));
    } else {
      is_database_changed = true;
      damage_bytes(operation, input, files);
    }
  }
  place.lay_out(is_database_changed ? files : sound_files(has_log));
  if (changes.empty()) return;
  try {
    damage_values(changes, place);
  } catch (const HostError&) {
  } catch (const soci::soci_error&) {
    // The bytes are damaged already; what is there is opened as it is.
  }
}

void check_batch(const StoredBatch& batch) {
  EPHOR_PROMISE(batch.stored_ids.size() <= batch.records.size(), "at most an id for each record");
  for (const StoredRecord& record : batch.records) {
    EPHOR_PROMISE(
        record.offset <= batch.bytes.size() && record.length <= batch.bytes.size() - record.offset,
        "a record lies in its batch");
  }
}

// As the readers of the host do: on, behind what is damaged if the error names it.
void read_through(const SqliteJournal& journal) {
  std::uint64_t from = 0;
  for (int steps = 0;; ++steps) {
    EPHOR_PROMISE(steps < 1'000, "reading ends");
    StoredBatch batch;
    try {
      if (!journal.next(from, batch)) return;
      check_batch(batch);
    } catch (const HostError&) {
      if (batch.position == 0) return;
    }
    EPHOR_PROMISE(batch.position >= from, "positions go up");
    from = batch.position + 1;
  }
}

void ignore_host_errors(const auto& body) {
  try {
    body();
  } catch (const HostError& error) {
    EPHOR_PROMISE(error.status() != EPHOR_OK && *error.what() != '\0', "an error has a reason");
  }
}

void use(SqliteJournal& journal, bool is_read_only) {
  EPHOR_PROMISE(journal.id().size() < 1'000'000, "the id is what is stored");
  ignore_host_errors([&] { read_through(journal); });
  for (std::uint64_t position = 0; position < 10; ++position) {
    ignore_host_errors([&] { check_batch(journal.read(position)); });
  }
  for (const std::uint64_t key :
       {kKey, std::uint64_t{1'100}, std::uint64_t{0}, ~std::uint64_t{0}}) {
    ignore_host_errors([&] {
      const auto found = journal.find(key);
      EPHOR_PROMISE(std::is_sorted(found.begin(), found.end()), "found positions go up");
    });
  }
  for (const std::uint64_t events_max : {std::uint64_t{3}, std::uint64_t{2'000'000}}) {
    ignore_host_errors([&] {
      std::uint64_t seen = 0;
      journal.load_recent_ids(
          events_max, [&](std::uint64_t, std::span<const Hash128> ids) { seen += ids.size(); });
      EPHOR_PROMISE(seen <= events_max, "no more ids than were asked for");
    });
  }
  ignore_host_errors([&] { journal.stats(); });
  ignore_host_errors([&] { journal.note(); });
  if (is_read_only) return;
  ignore_host_errors([&] {
    append(journal, 99, 70, 3);
    const StoredBatch batch = journal.read(journal.last_position());
    EPHOR_PROMISE(batch.records.size() == 70, "what is appended is read");
  });
  ignore_host_errors([&] { journal.remove_before(3); });
  ignore_host_errors([&] { read_through(journal); });
}

#ifdef EPHOR_HAS_RECOVERY
// Whatever the damage, what recovery makes of it is a sound journal that goes on.
void recover(const Workplace& place) {
  recover_journal(place.path(), 1'800'000'000'000'000'000);
  SqliteJournal journal(place.path(), kOptions);
  std::uint64_t batches = 0;
  StoredBatch batch;
  for (std::uint64_t from = 0; journal.next(from, batch); from = batch.position + 1) {
    check_batch(batch);
    EPHOR_PROMISE(
        batch.position >= from && position_of(sequence_of(batch.position, 0)) == batch.position,
        "a position fits into a sequence");
    ++batches;
  }
  EPHOR_PROMISE(journal.stats().batches == batches, "the totals are those of what is there");
  const std::uint64_t last = journal.last_position();
  append(journal, 99, 70, 3);
  EPHOR_PROMISE(journal.last_position() == last + 1, "positions go on");
  EPHOR_PROMISE(position_of(sequence_of(last + 1, 0)) == last + 1, "and fit into sequences");
  EPHOR_PROMISE(journal.read(last + 1).records.size() == 70, "what is appended is read");
}
#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Workplace place;
  Input input(data, size);
  const std::uint64_t choice = input.number(1);
  [[maybe_unused]] Input again = input;
  const bool is_read_only = (choice & 2) != 0;
  try {
    lay_out_damaged(input, (choice & 1) != 0, place);
    SqliteJournalOptions options = kOptions;
    options.read_only = is_read_only;
    try {
      SqliteJournal journal(place.path(), options);
      use(journal, is_read_only);
    } catch (const HostError& error) {
      EPHOR_PROMISE(std::string_view(error.what()).find("journal") != std::string_view::npos,
                    "an error names the file");
    }
#ifdef EPHOR_HAS_RECOVERY
    if (!is_read_only) {
      lay_out_damaged(again, (choice & 1) != 0, place);
      recover(place);
    }
#endif
  } catch (const std::exception& failure) {
    ephor::fuzz::broken(__FILE__, __LINE__,
                        std::string("only a HostError comes out: ") + failure.what());
  }
  return 0;
}
