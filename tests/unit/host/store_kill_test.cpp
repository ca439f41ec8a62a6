// SPDX-License-Identifier: Apache-2.0
//
// A writer is killed with SIGKILL in the middle of its work, again and again on the same directory:
// what it acknowledged is there, nothing is there twice.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <random>

#include "store/sqlite_journal.hpp"
#include "store_batches.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

SqliteJournalOptions options_of(int round) {
  SqliteJournalOptions options;
  options.durability = round % 3 == 0   ? Durability::full
                       : round % 3 == 1 ? Durability::normal
                                        : Durability::off;
  options.index_run_entries = 500;
  return options;
}

// Appends numbered events for ever, writing the next number to `out` after each acknowledged group.
[[noreturn]] void write_until_killed(const std::filesystem::path& directory, int round,
                                     std::uint64_t number, int out) {
  SqliteJournal journal(directory, options_of(round));
  std::mt19937 random(static_cast<unsigned>(round));
  for (;;) {
    std::vector<Batch> batches;
    for (std::size_t i = 0; i < 1 + random() % 3; ++i) {
      const std::size_t count = 1 + random() % 40;
      batches.push_back(numbered_batch(number, count, {number}));
      number += count;
    }
    std::vector<Pending> group;
    for (Batch& batch : batches) group.push_back({&batch, journal.encode(batch)});
    journal.append(group);
    if (::write(out, &number, sizeof(number)) != sizeof(number)) ::_exit(1);
  }
}

// The number after the last acknowledged event.
std::uint64_t run_and_kill(const std::filesystem::path& directory, int round, std::uint64_t number,
                           unsigned acknowledgements, unsigned spin_us) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    try {
      write_until_killed(directory, round, number, ends[1]);
    } catch (...) {
      ::_exit(2);
    }
  }
  ::close(ends[1]);
  std::uint64_t acknowledged = number;
  for (unsigned i = 0; i < acknowledgements; ++i) {
    if (::read(ends[0], &acknowledged, sizeof(acknowledged)) != sizeof(acknowledged)) break;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(spin_us);
  while (std::chrono::steady_clock::now() < end) {
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  std::uint64_t more = 0;
  while (::read(ends[0], &more, sizeof(more)) == sizeof(more)) acknowledged = more;
  ::close(ends[0]);
  return acknowledged;
}

}  // namespace

TEST_CASE("journal: survives SIGKILL at any instant", "[integration][journal]") {
  const TemporaryDirectory directory;
  std::mt19937 random(20171107);
  std::uint64_t next_number = 0;
  for (int round = 0; round < 12; ++round) {
    const std::uint64_t acknowledged =
        run_and_kill(directory.path(), round, next_number, random() % 40, random() % 3'000);

    SqliteJournal journal(directory.path(), options_of(round));
    std::uint64_t expected = 0;  // events are numbered in order: none missing, none twice
    std::uint64_t position = 0;
    StoredBatch batch;
    while (journal.next(position + 1, batch)) {
      CHECK(batch.position == position + 1);
      position = batch.position;
      const std::vector<std::uint64_t> found = journal.find(expected);
      CHECK(found == std::vector<std::uint64_t>{position});
      for (std::size_t i = 0; i < batch.records.size(); ++i) {
        REQUIRE(batch.record(i) == numbered_record(expected++));
      }
    }
    CHECK(expected >= acknowledged);
    CHECK(journal.last_position() == position);
    CHECK(journal.stats().events == expected);
    // What was committed but not acknowledged counts as well: the next writer goes on behind it.
    next_number = expected;
  }
}
