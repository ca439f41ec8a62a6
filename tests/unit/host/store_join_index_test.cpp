// SPDX-License-Identifier: Apache-2.0
//
// The join index against a plain scan of all that was added to it.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "store/join_index.hpp"
#include "store/join_tail.hpp"
#include "store/sqlite_cursor.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

using Keys = std::vector<std::uint64_t>;
using Entries = std::set<std::pair<std::uint64_t, std::uint64_t>>;  // key and position

// What an index must find, looked for the slow way.
Keys scan(const Entries& entries, const Keys& keys, std::uint64_t removed_before) {
  std::set<std::uint64_t> positions;
  for (const auto& [key, position] : entries) {
    if (position < removed_before) continue;
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) positions.insert(position);
  }
  return {positions.begin(), positions.end()};
}

class Source {
 public:
  explicit Source(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  // Few enough that most are of many batches; both ends of the range are among them.
  std::uint64_t key() {
    constexpr std::uint64_t kKeys = 400;
    const std::uint64_t number = below(kKeys);
    return number == 0 ? 0 : number == 1 ? UINT64_MAX : number * 0x9E3779B97F4A7C15U;
  }
  Keys sorted_keys(std::uint64_t count_max) {
    std::set<std::uint64_t> keys;
    for (std::uint64_t left = below(count_max) + 1; left > 0; --left) keys.insert(key());
    return {keys.begin(), keys.end()};
  }

 private:
  std::mt19937_64 random_;
};

Keys found_in(const JoinTail& tail, const Keys& keys) {
  Keys positions;
  tail.find(keys, positions);
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return positions;
}

}  // namespace

TEST_CASE("join tail: finds what a scan finds, in few segments", "[unit][journal]") {
  Source source(1);
  JoinTail tail;
  Entries entries;
  std::uint64_t removed_before = 0;
  for (std::uint64_t position = 1; position <= 3000; ++position) {
    JoinTail staged;
    const Keys keys = source.sorted_keys(source.below(10) == 0 ? 200 : 5);
    staged.add(position, keys);
    for (const std::uint64_t key : keys) entries.emplace(key, position);
    tail.append(staged);
    if (position % 1000 == 0) {
      removed_before = position - source.below(500);
      tail.remove_before(removed_before);
      std::erase_if(entries, [&](const auto& entry) { return entry.second < removed_before; });
    }
    CHECK(tail.size() == entries.size());
    std::size_t segments_max = 1;  // each is more than twice as large as the next
    for (std::size_t rest = tail.size(); rest > 1; rest /= 2) ++segments_max;
    CHECK(tail.segment_count() <= segments_max);
    if (position % 7 != 0) continue;
    const Keys asked = source.sorted_keys(4);
    CHECK(found_in(tail, asked) == scan(entries, asked, 0));
  }
  Entries visited;
  tail.visit([&](std::uint64_t key, std::uint64_t position) { visited.emplace(key, position); });
  CHECK(visited == entries);

  const auto all = tail.merged();
  Entries merged;
  for (std::size_t i = 0; i < all->keys.size(); ++i) {
    const std::pair<std::uint64_t, std::uint64_t> entry{all->keys[i], all->position(i)};
    CHECK((merged.empty() || *merged.rbegin() < entry));
    merged.insert(merged.end(), entry);
  }
  CHECK(merged == entries);
}

TEST_CASE("join tail: empty, and positions too far apart", "[unit][journal]") {
  JoinTail tail;
  CHECK(tail.size() == 0);
  CHECK(found_in(tail, {1, 2}).empty());
  CHECK(tail.merged()->keys.empty());
  tail.add(7, {});
  CHECK(tail.segment_count() == 0);
  tail.remove_before(9);
  tail.add(1ULL << 40U, Keys{5});
  CHECK_THROWS_AS(tail.add((1ULL << 40U) + (1ULL << 32U), Keys{5}), std::runtime_error);
}

TEST_CASE("join index: finds what a scan finds, over runs, merges, retention and restarts",
          "[unit][journal]") {
  const std::uint64_t seed = GENERATE(1, 2, 3);
  const TemporaryDirectory directory;
  constexpr std::size_t kRunEntries = 700;
  const auto path = directory.path() / "index.db";
  Source source(seed);
  const auto writer = sqlite::open(path, sqlite::OpenMode::create);
  const auto reader = sqlite::open(path, sqlite::OpenMode::existing);
  auto index = std::make_unique<JoinIndex>(*writer, kRunEntries);
  auto pages = std::make_unique<JoinIndex::Pages>(*reader);
  Entries entries;
  std::uint64_t position = 0;
  std::uint64_t removed_before = 0;
  std::size_t runs_max = 0;
  std::size_t merges = 0;
  std::size_t restarts = 0;
  for (int round = 0; round < 1500; ++round) {
    writer->begin();
    Entries added;
    std::uint64_t next = position;
    for (std::uint64_t batches = source.below(4) + 1; batches > 0; --batches) {
      const Keys keys = source.sorted_keys(20);
      index->add(++next, keys);
      for (const std::uint64_t key : keys) added.emplace(key, next);
    }
    index->flush_if_full();
    std::uint64_t removed_after = removed_before;
    if (source.below(300) == 0) {
      removed_after = std::max(removed_before, next - std::min(next, source.below(800)));
      index->remove_before(removed_after);
    }
    if (source.below(10) == 0) {  // a commit that failed
      sqlite::roll_back(*writer);
      index->discard();
    } else {
      writer->commit();
      index->publish();
      entries.merge(added);
      position = next;
      removed_before = removed_after;
    }
    runs_max = std::max(runs_max, index->run_count());
    if (source.below(2) == 0 && index->merge_step()) ++merges;
    if (source.below(200) == 0) {
      index.reset();
      index = std::make_unique<JoinIndex>(*writer, kRunEntries);
      ++restarts;
    }
    const Keys asked = source.sorted_keys(7);
    Keys found = index->find(asked, *pages);
    // What an older run still lists is the journal's to leave out.
    std::erase_if(found, [&](std::uint64_t one) { return one < removed_before; });
    CHECK(found == scan(entries, asked, removed_before));
  }
  CHECK(runs_max >= 8);  // enough for a merge
  CHECK(merges > 10);
  CHECK(restarts > 0);
  pages.reset();
  index.reset();  // before the connections
}

TEST_CASE("join index: a reader misses nothing while runs are written and merged",
          "[unit][journal]") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "index.db";
  const auto writer = sqlite::open(path, sqlite::OpenMode::create);
  const auto session = sqlite::open(path, sqlite::OpenMode::existing);
  JoinIndex index(*writer, 200);
  constexpr std::uint64_t kBatches = 1000;
  constexpr std::uint64_t kShared = 42;
  std::atomic<std::uint64_t> published{0};
  std::atomic<std::uint64_t> missing{0};
  std::atomic<std::uint64_t> looks{0};
  std::thread reading([&] {
    JoinIndex::Pages pages(*session);
    for (std::uint64_t before = 0; before < kBatches;) {
      before = published.load();
      const Keys found = index.find(Keys{kShared, 43}, pages);
      // In order, so the first so many are all that was published before.
      if (found.size() < before || (before > 0 && found[before - 1] != before)) ++missing;
      ++looks;
    }
  });
  Source source(5);
  for (std::uint64_t position = 1; position <= kBatches; ++position) {
    std::set<std::uint64_t> keys{kShared};
    for (int i = 0; i < 10; ++i) keys.insert(source.key());
    writer->begin();
    index.add(position, Keys(keys.begin(), keys.end()));
    index.flush_if_full();
    writer->commit();
    index.publish();
    published = position;
    index.merge_step();
  }
  reading.join();
  CHECK(missing == 0);
  CHECK(looks > 0);
}
