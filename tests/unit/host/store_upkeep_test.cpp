// SPDX-License-Identifier: Apache-2.0
//
// Retention, damage and recovery of the journal. What a batch holds is known from its number, so
// every test compares with what was put in.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "event/error.hpp"
#include "store/archive.hpp"
#include "store/damage_mark.hpp"
#include "store/database_check.hpp"
#include "store/journal_check.hpp"
#include "store/journal_recovery.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/sqlite_journal.hpp"
#include "store_batches.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNow = 1'800'000'000'000'000'000;
constexpr std::uint64_t kBatches = 150;

// Sizes from a row in its leaf page to dozens of overflow pages.
std::size_t noise_bytes(std::uint64_t position) {
  constexpr std::size_t kSizes[] = {0, 100, 3'000, 20'000, 150'000};
  return kSizes[position % std::size(kSizes)];
}

std::vector<RecordSpec> records_of(std::uint64_t position) {
  std::mt19937_64 random(position);
  std::string noise(noise_bytes(position), '\0');
  for (char& byte : noise) byte = static_cast<char>(random());  // zstd leaves it as it is
  return {{numbered_record(position), static_cast<std::int64_t>(position)},
          {noise + std::to_string(position), static_cast<std::int64_t>(position) + 1}};
}

std::vector<std::uint64_t> keys_of_position(std::uint64_t position) {
  std::vector<std::uint64_t> keys{hash64(std::to_string(position)), hash64("shared")};
  std::sort(keys.begin(), keys.end());
  return keys;
}

Batch batch_of(std::uint64_t position) {
  return make_batch(records_of(position), keys_of_position(position));
}

bool has_written_records(const StoredBatch& batch) {
  const std::vector<RecordSpec> expected = records_of(batch.position);
  if (batch.records.size() != expected.size()) return false;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (batch.record(i) != expected[i].text) return false;
  }
  return true;
}

bool has_written_ids(const StoredBatch& batch) {
  const std::vector<RecordSpec> expected = records_of(batch.position);
  return batch.stored_ids.size() == expected.size() &&
         std::equal(batch.stored_ids.begin(), batch.stored_ids.end(), expected.begin(),
                    [](const Hash128& id, const RecordSpec& record) {
                      return id == hash128(record.text);
                    });
}

void fill(const fs::path& directory, std::uint64_t batches = kBatches) {
  SqliteJournalOptions options;
  options.durability = Durability::off;
  options.index_run_entries = 100;  // several runs
  SqliteJournal journal(directory, options);
  for (std::uint64_t position = 1; position <= batches; ++position) {
    Batch batch = batch_of(position);
    append(journal, batch);
    REQUIRE(batch.position == position);
  }
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

// Opens as the host does.
std::unique_ptr<SqliteJournal> opened(const fs::path& directory) {
  try {
    return std::make_unique<SqliteJournal>(directory);
  } catch (const DamageError&) {
    recover_journal(directory, kNow);
  }
  return std::make_unique<SqliteJournal>(directory);
}

struct Served {
  std::set<std::uint64_t> whole;
  std::set<std::uint64_t> damaged;
};

// Every batch that is served must be what was written; the rest must be said to be missing. Ids
// have no checksum of their own, so single flipped bytes of them (not whole pages) are served.
enum class Ids { sound, perhaps_flipped };
Served serve(SqliteJournal& journal, Ids ids = Ids::sound) {
  Served served;
  StoredBatch batch;
  std::uint64_t from = 1;
  const auto on_damage = [&](const DamageError& damage) {
    for (std::uint64_t at = damage.first_position; at <= damage.last_position; ++at) {
      served.damaged.insert(at);
    }
  };
  while (next_readable(journal, from, batch, on_damage)) {
    CHECK(has_written_records(batch));
    if (ids == Ids::sound) CHECK(has_written_ids(batch));
    served.whole.insert(batch.position);
    from = batch.position + 1;
  }
  for (const JournalGap& gap : journal.gaps()) {
    for (std::uint64_t at = position_of(gap.first_sequence); at <= position_of(gap.last_sequence);
         ++at) {
      served.damaged.insert(at);
    }
  }
  return served;
}

void can_append(SqliteJournal& journal) {
  Batch more = make_batch(records_of(journal.last_position() + 1));
  append(journal, more);
  CHECK(has_written_records(journal.read(more.position)));
}

std::vector<std::uint64_t> no_keys(const StoredBatch&) { return {}; }

std::vector<std::uint64_t> keys_of_batch(const StoredBatch& batch) {
  return keys_of_position(batch.position);
}

}  // namespace

TEST_CASE("damage: whatever page is garbage, nothing is lost in silence",
          "[unit][journal][damage]") {
  const TemporaryDirectory original;
  fill(original.path());
  const std::string sound = bytes_of(original.path() / "journal.db");
  constexpr std::size_t kPage = 4096;
  const std::size_t pages = sound.size() / kPage;
  REQUIRE(pages > 500);

  std::mt19937 random(7);
  std::set<std::size_t> hit{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, pages - 1};
  while (hit.size() < 40) hit.insert(random() % pages);
  std::size_t recovered = 0;
  for (const std::size_t page : hit) {
    INFO("page " << page);
    const TemporaryDirectory directory;
    std::string damaged = sound;
    for (std::size_t at = 0; at < kPage; ++at) {
      damaged[page * kPage + at] = static_cast<char>(random());
    }
    write_bytes(directory.path() / "journal.db", damaged);
    const auto journal = opened(directory.path());
    CHECK(journal->last_position() == kBatches);
    const Served served = serve(*journal);
    std::set<std::uint64_t> all = served.whole;
    all.insert(served.damaged.begin(), served.damaged.end());
    CHECK(all.size() == kBatches);
    // One page holds a few small batches, or a piece of one large.
    CHECK(served.whole.size() + 60 > kBatches);
    recovered +=
        fs::exists(directory.path() / "journal.db.damaged") || served.whole.size() < kBatches;
    if (!damage_mark(directory.path() / "journal.db")) can_append(*journal);
    std::uint64_t ids = 0;
    journal->load_recent_ids(
        1'000'000, [&](std::uint64_t, std::span<const Hash128> found) { ids += found.size(); });
    CHECK(ids >= 2 * served.whole.size());
  }
  CHECK(recovered > 5);  // the test met damage at all
}

TEST_CASE("damage: a range that readers skip is marked, and recovered from at the next start",
          "[unit][journal][damage]") {
  const TemporaryDirectory directory;
  fill(directory.path());
  const fs::path file = directory.path() / "journal.db";
  // The leaf that holds the row of position 75, by the place that verify gives.
  {
    const auto session = sqlite::open(file, sqlite::OpenMode::existing);
    sqlite::execute(*session, "UPDATE batches SET t_min = 0 WHERE position = 75");
  }
  const JournalCheck place = check_journal(directory.path(), no_keys);
  REQUIRE(place.faults.size() == 1);
  CHECK(place.faults[0].position == 75);
  REQUIRE(place.faults[0].place.starts_with("journal.db byte "));
  const std::size_t at = std::stoull(place.faults[0].place.substr(16)) / 4096 * 4096;
  std::string bytes = bytes_of(file);
  for (std::size_t i = 0; i < 4096; ++i) bytes[at + i] = '\xA5';
  write_bytes(file, bytes);

  Served before;
  {
    SqliteJournal journal(directory.path());
    before = serve(journal);
    CHECK(before.damaged.contains(75));
    CHECK(before.whole.size() + before.damaged.size() == kBatches);
    CHECK(damage_mark(file).has_value());
    const JournalCheck found = check_journal(directory.path(), no_keys);
    CHECK(found.faults.size() >= 2);  // SQLite's, and the batches'
  }
  const Recovery recovery = recover_journal(directory.path(), kNow);
  CHECK(fs::exists(recovery.set_aside));
  CHECK_FALSE(damage_mark(file).has_value());
  SqliteJournal journal(directory.path());
  const Served after = serve(journal);
  CHECK(after.whole == before.whole);
  CHECK(after.damaged == before.damaged);
  can_append(journal);
  CHECK_FALSE(journal.is_index_complete());
  journal.reindex(keys_of_batch);
  CHECK(journal.is_index_complete());
  for (const std::uint64_t position : after.whole) {
    CHECK(journal.find(hash64(std::to_string(position))) == std::vector<std::uint64_t>{position});
  }
  CHECK(check_journal(directory.path(), no_keys).faults.empty());
}

TEST_CASE("damage: a file cut short keeps what is before the cut", "[unit][journal][damage]") {
  const TemporaryDirectory original;
  fill(original.path());
  const std::string sound = bytes_of(original.path() / "journal.db");
  for (const double share : {0.9, 0.5, 0.1}) {
    INFO(share);
    const TemporaryDirectory directory;
    write_bytes(
        directory.path() / "journal.db",
        sound.substr(0, static_cast<std::size_t>(static_cast<double>(sound.size()) * share)));
    const auto journal = opened(directory.path());
    const Served served = serve(*journal);
    // Rows were written in order, so the share of the file is about the share of the rows.
    CHECK(static_cast<double>(served.whole.size()) > (share - 0.1) * kBatches);
    CHECK(served.whole.size() < kBatches);
    std::set<std::uint64_t> all = served.whole;
    all.insert(served.damaged.begin(), served.damaged.end());
    CHECK(all.size() == journal->last_position());
    can_append(*journal);
  }
}

TEST_CASE("damage: a log cut short ends the journal earlier; the storage's word makes it a gap",
          "[unit][journal][damage]") {
  const TemporaryDirectory directory;
  const TemporaryDirectory copy;
  {
    SqliteJournal journal(directory.path());
    for (std::uint64_t position = 1; position <= 20; ++position) {
      Batch batch = batch_of(position);
      append(journal, batch);
    }
    for (const char* name : {"journal.db", "journal.db-wal"}) {
      fs::copy_file(directory.path() / name, copy.path() / name);
    }
  }
  const fs::path log = copy.path() / "journal.db-wal";
  fs::resize_file(log, fs::file_size(log) / 2);
  SqliteJournal journal(copy.path());
  const std::uint64_t last = journal.last_position();
  REQUIRE(last > 0);
  REQUIRE(last < 20);
  CHECK(serve(journal).whole.size() == last);
  journal.reserve_through(20, "lost", kNow);
  CHECK(journal.last_position() == 20);
  REQUIRE(journal.gaps().size() == 1);
  CHECK(journal.gaps()[0].batches == 20 - last);
  Batch batch = batch_of(21);
  append(journal, batch);
  CHECK(batch.position == 21);
  CHECK(check_journal(copy.path(), keys_of_batch).faults.empty());
}

TEST_CASE("damage: recovery takes any bytes", "[unit][journal][damage]") {
  const TemporaryDirectory original;
  fill(original.path(), 30);
  const std::string sound = bytes_of(original.path() / "journal.db");
  std::mt19937 random(11);
  for (int round = 0; round < 30; ++round) {
    INFO(round);
    const TemporaryDirectory directory;
    std::string bytes = round == 0 ? std::string() : sound;
    for (int change = 0; change < round * 40; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (round % 3 == 1) bytes.resize(random() % bytes.size());
    write_bytes(directory.path() / "journal.db", bytes);
    if (round % 2 == 1) write_bytes(directory.path() / "journal.db-wal", sound.substr(0, 50'000));
    (void)check_journal(directory.path(), no_keys);
    recover_journal(directory.path(), kNow);
    SqliteJournal journal(directory.path());
    serve(journal, Ids::perhaps_flipped);
    can_append(journal);
  }
}

TEST_CASE("retention: whole batches by bytes and by arrival, one growing gap",
          "[unit][journal][retention]") {
  const TemporaryDirectory directory;
  SqliteJournal journal(directory.path());
  for (std::uint64_t i = 0; i < 20; ++i) {
    Batch batch = numbered_batch(i * 10, 10, {100 + i});
    batch.arrived_ns = static_cast<std::int64_t>(1'000 + i);
    append(journal, batch);
  }
  const JournalStats before = journal.stats();

  RemovalLimits by_age;
  by_age.before_position = journal.last_position();
  by_age.arrived_before_ns = 1'005;
  by_age.batches_max = 3;
  CHECK(journal.remove_oldest(by_age, kNow).batches == 3);
  CHECK(journal.remove_oldest(by_age, kNow).batches == 2);  // those of 1003 and 1004
  CHECK(journal.remove_oldest(by_age, kNow).batches == 0);
  CHECK(journal.oldest_position() == 6);
  CHECK(journal.oldest_arrival_ns() == 1'005);

  RemovalLimits by_bytes;
  by_bytes.before_position = 9;  // somebody has not read further
  by_bytes.bytes_max = 1;
  CHECK(journal.remove_oldest(by_bytes, kNow).batches == 1);
  by_bytes.bytes_max = UINT64_MAX;
  CHECK(journal.remove_oldest(by_bytes, kNow).batches == 2);
  CHECK(journal.remove_oldest(by_bytes, kNow).batches == 0);

  const JournalStats after = journal.stats();
  CHECK(after.oldest_position == 9);
  CHECK(after.batches == 12);
  CHECK(after.events == 120);
  const std::vector<JournalGap> gaps = journal.gaps();
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].first_sequence == sequence_of(1, 0));
  CHECK(gaps[0].last_sequence == sequence_of(9, 0) - 1);
  CHECK(gaps[0].batches == 8);
  CHECK(gaps[0].events == 80U);
  CHECK(gaps[0].bytes == before.stored_bytes - after.stored_bytes);
  CHECK(journal.find(105).empty());
  CHECK(journal.find(110) == std::vector<std::uint64_t>{11});
  CHECK(check_journal(directory.path(), no_keys).faults.empty());
}

TEST_CASE("retention: ids outlive their events as far as the window goes",
          "[unit][journal][retention]") {
  const TemporaryDirectory directory;
  constexpr std::uint64_t kWindow = 95;
  const auto ids_from = [](const SqliteJournal& journal) {
    std::vector<Hash128> ids;
    journal.load_recent_ids(kWindow, [&](std::uint64_t, std::span<const Hash128> found) {
      ids.insert(ids.end(), found.rbegin(), found.rend());
    });
    return ids;
  };
  {
    SqliteJournal journal(directory.path());
    for (std::uint64_t i = 0; i < 20; ++i) {
      Batch batch = numbered_batch(i * 10, 10);
      append(journal, batch);
    }
    RemovalLimits limits;
    limits.before_position = 16;  // 50 events stay
    limits.batches_max = 4;
    limits.ids_window = kWindow;
    while (journal.remove_oldest(limits, kNow).batches != 0) {
    }
    CHECK(journal.stats().events == 50);
    CHECK(journal.size().removed_ids == 50);  // five batches cover the window's other 45
  }
  SqliteJournal journal(directory.path());
  const std::vector<Hash128> ids = ids_from(journal);
  REQUIRE(ids.size() == kWindow);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CHECK(ids[i] == hash128(numbered_record(199 - i)));
  }
  // As new events come, older ids leave the window.
  for (std::uint64_t i = 20; i < 24; ++i) {
    Batch batch = numbered_batch(i * 10, 10);
    append(journal, batch);
  }
  RemovalLimits nothing;
  nothing.ids_window = kWindow;
  journal.remove_oldest(nothing, kNow);
  CHECK(journal.size().removed_ids == 10);
  CHECK(ids_from(journal).size() == kWindow);
}

TEST_CASE("retention: the file stops growing when what comes equals what goes",
          "[unit][journal][retention]") {
  const TemporaryDirectory directory;
  SqliteJournalOptions options;
  options.durability = Durability::off;
  options.index_run_entries = 500;
  SqliteJournal journal(directory.path(), options);
  std::uint64_t size_early = 0;
  std::uint64_t position = 0;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 100; ++i) {
      Batch batch = batch_of(++position);
      append(journal, batch);
      RemovalLimits limits;
      limits.before_position = position > 200 ? position - 200 : 0;
      limits.ids_window = 100;
      journal.remove_oldest(limits, kNow);
      journal.merge_index_step();
    }
    if (round == 4) size_early = journal.size().file_bytes;
  }
  CHECK(journal.stats().batches <= 201);
  CHECK(static_cast<double>(journal.size().file_bytes) < 1.05 * static_cast<double>(size_early));
}

TEST_CASE("index: runs are merged until few are left, and lists stay the same",
          "[unit][journal][index]") {
  const TemporaryDirectory directory;
  SqliteJournalOptions options;
  options.durability = Durability::off;
  options.index_run_entries = 400;
  std::map<std::uint64_t, std::vector<std::uint64_t>> expected;
  std::mt19937_64 random(5);
  const auto check = [&](const SqliteJournal& journal) {
    for (const auto& [key, positions] : expected) CHECK(journal.find(key) == positions);
  };
  {
    SqliteJournal journal(directory.path(), options);
    for (int i = 0; i < 2'000; ++i) {
      std::set<std::uint64_t> keys;
      while (keys.size() < 20) keys.insert(hash64(std::to_string(random() % 3'000)));
      Batch batch = numbered_batch(static_cast<std::uint64_t>(i), 1, {keys.begin(), keys.end()});
      append(journal, batch);
      for (const std::uint64_t key : keys) expected[key].push_back(batch.position);
    }
    CHECK(journal.size().index_runs == 100);
    for (int i = 0; i < 40; ++i) journal.merge_index_step();
    check(journal);  // in the middle of it
    for (int i = 0; i < 3; ++i) journal.merge_index_step();
  }
  {
    SqliteJournal journal(directory.path(), options);  // a merge was cut short
    check(journal);
    while (journal.merge_index_step()) {
    }
    CHECK(journal.size().index_runs < 20);
    check(journal);
  }
  SqliteJournal journal(directory.path(), options);
  CHECK(journal.size().index_runs < 20);
  check(journal);
  const auto session = sqlite::open(directory.path() / "journal.db", sqlite::OpenMode::existing);
  sqlite::Cursor pages(*session, "SELECT count(*) FROM join_pages");
  REQUIRE(pages.step());
  CHECK(pages.integer(0) < 2'000 * 20 / 330 + 30);  // nothing is left of what was merged
}

TEST_CASE("verify: says what is wrong, and nothing of a sound journal", "[unit][journal][verify]") {
  const TemporaryDirectory directory;
  fill(directory.path(), 40);
  CHECK(check_journal(directory.path(), keys_of_batch).faults.empty());
  const std::map<std::string, std::string> damages{
      {"UPDATE batches SET body = zeroblob(100) WHERE position = 7", "zstd"},
      {"UPDATE batches SET last_seq = last_seq + 1 WHERE position = 7", "last_seq"},
      {"UPDATE batches SET t_max = 0 WHERE position = 7", "t_max"},
      {"UPDATE batches SET ids = x'0011' WHERE position = 7", "ids"},
      {"DELETE FROM batches WHERE position = 7", "missing"},
      {"DELETE FROM join_tail", "join keys"},
      {"UPDATE totals SET events = events + 1", "totals.events"}};
  const std::string sound = bytes_of(directory.path() / "journal.db");
  for (const auto& [sql, expected] : damages) {
    INFO(sql);
    const TemporaryDirectory copy;
    write_bytes(copy.path() / "journal.db", sound);
    {
      const auto session = sqlite::open(copy.path() / "journal.db", sqlite::OpenMode::existing);
      sqlite::execute(*session, sql);
    }
    const JournalCheck check = check_journal(copy.path(), keys_of_batch);
    CHECK(std::any_of(check.faults.begin(), check.faults.end(), [&](const JournalFault& fault) {
      return fault.what.find(expected) != std::string::npos;
    }));
    const bool is_of_batch = sql.find("position = 7") != std::string::npos;
    CHECK((!is_of_batch || std::any_of(check.faults.begin(), check.faults.end(),
                                       [](const auto& fault) { return fault.position == 7; })));
  }
}

TEST_CASE("archive: comes back byte for byte, and only whole", "[unit][archive]") {
  const TemporaryDirectory directory;
  const fs::path archive = directory.path() / "a.tar.zst";
  std::mt19937 random(3);
  std::map<std::string, std::string> contents{
      {"empty", ""}, {"one block", std::string(512, 'x')}, {"reports/deep/r.html", "<p>"}};
  for (int i = 0; i < 3'000'000; ++i) contents["large"] += static_cast<char>(random());
  std::vector<ArchiveMember> members;
  int number = 0;
  for (const auto& [name, bytes] : contents) {
    const fs::path file = directory.path() / std::to_string(number++);
    write_bytes(file, bytes);
    members.push_back({name, file, bytes.size()});
  }
  write_archive(archive, members);
  fs::create_directory(directory.path() / "out");
  unpack_archive(archive, directory.path() / "out");
  for (const auto& [name, bytes] : contents) {
    CHECK(bytes_of(directory.path() / "out" / name) == bytes);
  }

  const std::string sound = bytes_of(archive);
  fs::create_directory(directory.path() / "bad");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, sound.size() / 2, sound.size() - 1}) {
    write_bytes(archive, sound.substr(0, size));
    CHECK_THROWS_AS(unpack_archive(archive, directory.path() / "bad"), HostError);
  }
  for (const char* name : {"../x", "/x", "a/../../x"}) {
    CHECK_THROWS_AS(write_archive(archive, {{name, directory.path() / "0", 0}}), HostError);
  }
}
