// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "event/error.hpp"
#include "store/sqlite_cursor.hpp"
#include "store/sqlite_journal.hpp"
#include "store_batches.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

ephor_status status_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const HostError& error) {
    return error.status();
  }
  return EPHOR_OK;
}

// Looks into the file beside the journal.
void run_sql(const std::filesystem::path& directory, const std::string& sql) {
  const auto session = sqlite::open(directory / "journal.db", sqlite::OpenMode::existing);
  sqlite::execute(*session, sql);
}

}  // namespace

TEST_CASE("journal: positions and sequences are given, batches come back", "[unit][journal]") {
  const TemporaryDirectory directory;
  std::string id;
  {
    SqliteJournal journal(directory.path());
    id = journal.id();
    CHECK(id.size() == 32);
    CHECK(journal.last_position() == 0);
    CHECK(journal.oldest_position() == 0);

    Batch first = numbered_batch(0, 3);
    Batch second = numbered_batch(3, 2);
    std::vector<Pending> group(2);
    group[0] = {&first, journal.encode(first)};
    group[1] = {&second, journal.encode(second)};
    journal.append(group);
    CHECK(first.position == 1);
    CHECK(second.position == 2);
    CHECK(first.events[2].sequence == ((1U << 16U) | 2U));
    CHECK(second.events[0].sequence == (2U << 16U));
    journal.append({});
    CHECK(journal.last_position() == 2);
  }
  SqliteJournal journal(directory.path());
  CHECK(journal.id() == id);
  CHECK(journal.last_position() == 2);
  CHECK(journal.oldest_position() == 1);
  const StoredBatch batch = journal.read(2);
  CHECK(batch.position == 2);
  CHECK(batch.arrived_ns == 1'700'000'000'000'000'000);
  REQUIRE(batch.records.size() == 2);
  CHECK(batch.record(1) == numbered_record(4));
  CHECK(batch.records[1].time_ns == 4'000);
  CHECK(batch.stored_ids[1] == hash128(numbered_record(4)));
  CHECK(status_of([&] { journal.read(3); }) == EPHOR_NOT_FOUND);

  StoredBatch next;
  REQUIRE(journal.next(0, next));
  CHECK(next.position == 1);
  REQUIRE(journal.next(2, next));
  CHECK(next.position == 2);
  CHECK_FALSE(journal.next(3, next));

  const JournalStats stats = journal.stats();
  CHECK(stats.batches == 2);
  CHECK(stats.events == 5);
  CHECK(stats.record_bytes == 5 * numbered_record(0).size());
  CHECK(stats.last_position == 2);
}

TEST_CASE("journal: the log of writes is copied into the file while appends go on",
          "[unit][journal]") {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "journal.db";
  SqliteJournal journal(directory.path());
  std::mt19937 random(3);
  std::string noise(100'000, '\0');
  std::uint64_t appended = 0;
  const auto append_noise = [&] {
    for (char& byte : noise) byte = static_cast<char>(random());
    Batch batch = make_batch({{noise}});
    append(journal, batch);
    ++appended;
  };
  for (int i = 0; i < 80; ++i) append_noise();  // twice what the log may hold
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::filesystem::file_size(file) < 6'000'000 &&
         std::chrono::steady_clock::now() < deadline) {
    append_noise();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(std::filesystem::file_size(file) >= 6'000'000);
  CHECK(journal.read(appended).record(0) == noise);
}

TEST_CASE("journal: finds the batches of a key, in memory and in runs", "[unit][journal]") {
  // Tiny runs, few distinct keys (so that one key spans pages) and many (so that pages are many).
  for (const std::uint64_t distinct : {3U, 5'000U}) {
    const TemporaryDirectory directory;
    std::map<std::uint64_t, std::set<std::uint64_t>> expected;
    SqliteJournalOptions options;
    options.durability = Durability::off;
    options.index_run_entries = 1'000;
    std::mt19937_64 random(distinct);
    const auto check = [&](const Journal& journal) {
      for (const auto& [key, positions] : expected) {
        const std::vector<std::uint64_t> found = journal.find(key);
        CHECK(std::set<std::uint64_t>(found.begin(), found.end()) == positions);
        CHECK(std::is_sorted(found.begin(), found.end()));
        CHECK(found.size() == positions.size());
      }
      CHECK(journal.find(4711).empty());
    };
    {
      SqliteJournal journal(directory.path(), options);
      for (int i = 0; i < 400; ++i) {
        std::set<std::uint64_t> keys;
        for (std::size_t k = 0; k < 1 + random() % 20; ++k) {
          keys.insert(hash64(std::to_string(random() % distinct)));
        }
        Batch batch = numbered_batch(static_cast<std::uint64_t>(i), 1,
                                     std::vector<std::uint64_t>(keys.begin(), keys.end()));
        append(journal, batch);
        for (const std::uint64_t key : keys) expected[key].insert(batch.position);
      }
      check(journal);
    }
    {
      SqliteJournal journal(directory.path(), options);
      check(journal);
      journal.remove_before(201);
      std::map<std::uint64_t, std::set<std::uint64_t>> kept;
      for (auto& [key, positions] : expected) {
        positions.erase(positions.begin(), positions.lower_bound(201));
      }
      check(journal);
    }
    SqliteJournalOptions looking = options;
    looking.read_only = true;
    check(SqliteJournal(directory.path(), looking));
  }
}

TEST_CASE("journal: removing old batches never takes a position back", "[unit][journal]") {
  const TemporaryDirectory directory;
  {
    SqliteJournal journal(directory.path());
    for (std::uint64_t i = 0; i < 5; ++i) {
      Batch batch = numbered_batch(i * 10, 10, {42 + i});
      append(journal, batch);
    }
    journal.remove_before(4);
    CHECK(journal.oldest_position() == 4);
    CHECK(journal.stats().batches == 2);
    CHECK(journal.stats().events == 20);
    CHECK(journal.stats().record_bytes == 20 * numbered_record(40).size());
    CHECK(status_of([&] { journal.read(3); }) == EPHOR_NOT_FOUND);
    CHECK(journal.find(42).empty());
    CHECK(journal.find(45) == std::vector<std::uint64_t>{4});
    journal.remove_before(std::numeric_limits<std::uint64_t>::max());
    CHECK(journal.oldest_position() == 0);
    CHECK(journal.stats().stored_bytes == 0);
  }
  SqliteJournal journal(directory.path());
  CHECK(journal.last_position() == 5);
  Batch batch = numbered_batch(99, 1);
  append(journal, batch);
  CHECK(batch.position == 6);
}

TEST_CASE("journal: recent ids, newest batch first, bounded", "[unit][journal]") {
  const TemporaryDirectory directory;
  SqliteJournal journal(directory.path());
  for (std::uint64_t i = 0; i < 4; ++i) {
    Batch batch = numbered_batch(i * 10, 10);
    append(journal, batch);
  }
  std::vector<std::uint64_t> positions;
  std::vector<Hash128> ids;
  journal.load_recent_ids(25, [&](std::uint64_t position, std::span<const Hash128> found) {
    positions.push_back(position);
    ids.insert(ids.end(), found.begin(), found.end());
  });
  CHECK(positions == std::vector<std::uint64_t>{4, 3, 2});
  REQUIRE(ids.size() == 25);
  CHECK(ids[0] == hash128(numbered_record(30)));
  CHECK(ids[10] == hash128(numbered_record(20)));
  CHECK(ids[20] == hash128(numbered_record(15)));  // the newest five of batch 2
  CHECK(ids[24] == hash128(numbered_record(19)));
}

TEST_CASE("journal: a failed append leaves nothing and the next one works", "[unit][journal]") {
  const TemporaryDirectory directory;
  SqliteJournal journal(directory.path());
  Batch small = numbered_batch(0, 1, {7});
  append(journal, small);

  std::string noise(3'000'000, '\0');
  std::mt19937 random(1);
  for (char& byte : noise) byte = static_cast<char>(random());
  Batch before = numbered_batch(1, 1, {8});
  Batch large = make_batch({{noise, 5}}, {9});
  const auto append_both = [&] {
    std::vector<Pending> group(2);
    group[0] = {&before, journal.encode(before)};
    group[1] = {&large, journal.encode(large)};
    journal.append(group);
  };

  SECTION("the limit is reached") {
    journal.limit_file(1'000'000);
    CHECK(status_of(append_both) == EPHOR_FULL);
    CHECK(before.position == 0);
    CHECK(large.events[0].sequence == 0);
    CHECK(journal.last_position() == 1);
    CHECK(journal.find(8).empty());
    append(journal, before);  // a small one still fits
    CHECK(before.position == 2);
    journal.limit_file(0);
  }
  SECTION("the disk refuses") {
    // A write beyond the limit fails with EFBIG once SIGXFSZ is ignored.
    const auto previous = std::signal(SIGXFSZ, SIG_IGN);
    rlimit saved{};
    getrlimit(RLIMIT_FSIZE, &saved);
    rlimit tight = saved;
    tight.rlim_cur = 1'000'000;
    setrlimit(RLIMIT_FSIZE, &tight);
    const ephor_status status = status_of(append_both);
    setrlimit(RLIMIT_FSIZE, &saved);
    std::signal(SIGXFSZ, previous);
    CHECK((status == EPHOR_IO || status == EPHOR_FULL));
    CHECK(before.position == 0);
    CHECK(journal.last_position() == 1);
  }
  append_both();
  CHECK(large.position == before.position + 1);
  CHECK(journal.read(large.position).record(0) == noise);
  CHECK(journal.find(9) == std::vector<std::uint64_t>{large.position});
  CHECK(journal.find(8).back() == before.position);
}

TEST_CASE("journal: a damaged batch is an error that names it; the others are read",
          "[unit][journal]") {
  const TemporaryDirectory directory;
  {
    SqliteJournal journal(directory.path());
    for (std::uint64_t i = 0; i < 4; ++i) {
      Batch batch = numbered_batch(i * 10, 10);
      append(journal, batch);
    }
  }
  const std::string damage =
      GENERATE("UPDATE batches SET body = substr(body, 1, length(body) / 2) WHERE position = 2",
               "UPDATE batches SET body = zeroblob(100) WHERE position = 2",
               "UPDATE batches SET body = NULL WHERE position = 2",
               "UPDATE batches SET count = -5 WHERE position = 2",
               "UPDATE batches SET count = 11 WHERE position = 2",
               "UPDATE batches SET record_bytes = -1 WHERE position = 2",
               "UPDATE batches SET codec = 77 WHERE position = 2",
               "UPDATE batches SET ids = x'00' WHERE position = 2");
  run_sql(directory.path(), damage);
  SqliteJournal journal(directory.path());
  try {
    journal.read(2);
    FAIL("read a damaged batch after " << damage);
  } catch (const HostError& error) {
    CHECK(error.status() == EPHOR_IO);
    CHECK(std::string(error.what()).find("position 2") != std::string::npos);
  }
  StoredBatch batch;
  CHECK(status_of([&] { journal.next(2, batch); }) == EPHOR_IO);
  CHECK(batch.position == 2);
  REQUIRE(journal.next(3, batch));
  CHECK(batch.record(0) == numbered_record(20));
}

TEST_CASE("journal: a file of a newer Ephor and a file that is none are refused",
          "[unit][journal]") {
  const TemporaryDirectory directory;
  SECTION("newer") {
    { SqliteJournal journal(directory.path()); }
    run_sql(directory.path(), "UPDATE meta SET value = 2 WHERE key = 'format_version'");
    CHECK(status_of([&] { SqliteJournal journal(directory.path()); }) == EPHOR_UNSUPPORTED);
  }
  SECTION("no database") {
    std::ofstream(directory.path() / "journal.db") << std::string(8192, 'x');
    CHECK(status_of([&] { SqliteJournal journal(directory.path()); }) == EPHOR_IO);
  }
  SECTION("read-only and absent") {
    SqliteJournalOptions options;
    options.read_only = true;
    CHECK(status_of([&] { SqliteJournal journal(directory.path(), options); }) == EPHOR_NOT_FOUND);
    CHECK(std::filesystem::is_empty(directory.path()));
  }
  SECTION("read-only does not write") {
    { SqliteJournal journal(directory.path()); }
    SqliteJournalOptions options;
    options.read_only = true;
    SqliteJournal journal(directory.path(), options);
    Batch batch = numbered_batch(0, 1);
    CHECK(status_of([&] { append(journal, batch); }) == EPHOR_STATE);
  }
}

TEST_CASE("journal: readers see whole batches while appends run", "[unit][journal]") {
  const TemporaryDirectory directory;
  const Durability durability = GENERATE(Durability::full, Durability::normal, Durability::off);
  SqliteJournalOptions options;
  options.durability = durability;
  options.index_run_entries = 64;
  SqliteJournal journal(directory.path(), options);
  constexpr std::uint64_t kBatches = 200;
  std::atomic<int> failures{0};
  const auto read_all = [&] {
    std::uint64_t seen = 0;
    StoredBatch batch;
    while (seen < kBatches) {
      if (!journal.next(seen + 1, batch)) continue;
      if (batch.position != seen + 1 || batch.records.size() != 5 ||
          batch.record(4) != numbered_record(seen * 5 + 4) ||
          journal.find(1'000 + batch.position).size() != 1) {
        ++failures;
      }
      seen = batch.position;
    }
  };
  std::thread one(read_all);
  std::thread two(read_all);
  for (std::uint64_t i = 0; i < kBatches; ++i) {
    Batch batch = numbered_batch(i * 5, 5, {1'000 + i + 1});
    append(journal, batch);
    if (i % 50 == 0) journal.sync();
  }
  one.join();
  two.join();
  CHECK(failures == 0);
}
