// SPDX-License-Identifier: Apache-2.0
#include "store/join_index.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "event/error.hpp"
#include "store/join_page.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kEntryBytes = sizeof(std::uint64_t) + sizeof(std::uint32_t);

std::string_view bytes_of(const std::vector<std::uint64_t>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(std::uint64_t)};
}

std::vector<std::uint64_t> numbers_of(std::string_view bytes, const char* where) {
  if (bytes.size() % sizeof(std::uint64_t) != 0) {
    throw DamageError("journal: " + std::string(where) + ": damaged: " +
                      std::to_string(bytes.size()) + " bytes, expected a multiple of 8");
  }
  std::vector<std::uint64_t> numbers(bytes.size() / sizeof(std::uint64_t));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

void assign(soci::blob& blob, std::string_view bytes) {
  blob.trim(0);
  blob.write(0, bytes.data(), bytes.size());
}

std::uint64_t load_u64(const char* at) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

}  // namespace

// One read transaction: without it every page that is read takes and gives back the file's locks.
class JoinIndex::Pages::Snapshot {
 public:
  explicit Snapshot(Pages& pages) : pages_(pages) { pages_.begin_.step(); }
  ~Snapshot() {
    try {
      pages_.end_.step();
    } catch (const std::exception&) {
      sqlite::roll_back(pages_.session_);
    }
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  Pages& pages_;
};

JoinIndex::Pages::Pages(soci::session& session)
    : session_(session),
      select_(session, "SELECT body FROM join_pages WHERE page = ?"),
      begin_(session, "BEGIN"),
      end_(session, "COMMIT") {}

std::vector<JoinIndex::Pages::Entry> JoinIndex::Pages::read(std::int64_t page) {
  const sqlite::CursorScope scope(select_);
  select_.bind(1, page);
  if (!select_.step()) return {};
  const std::string_view body = select_.blob(0);
  if (body.size() % kEntryBytes != 0) {
    throw DamageError("join index: page " + std::to_string(page) + " has " +
                      std::to_string(body.size()) + " bytes");
  }
  std::vector<Entry> entries(body.size() / kEntryBytes);
  const char* const offsets = body.data() + entries.size() * sizeof(std::uint64_t);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].key = load_u64(body.data() + i * sizeof(std::uint64_t));
    std::memcpy(&entries[i].offset, offsets + i * sizeof(std::uint32_t), sizeof(std::uint32_t));
  }
  return entries;
}

JoinIndex::JoinIndex(soci::session& writer, std::size_t run_entries, bool read_only)
    : writer_(writer), run_entries_(run_entries), read_only_(read_only), tail_keys_(writer) {
  if (read_only) {
    load();
    return;
  }
  sqlite::execute(writer_,
                  "CREATE TABLE IF NOT EXISTS join_tail(position INTEGER PRIMARY KEY, keys BLOB)");
  sqlite::execute(writer_,
                  "CREATE TABLE IF NOT EXISTS join_pages(page INTEGER PRIMARY KEY, body BLOB)");
  sqlite::execute(writer_,
                  "CREATE TABLE IF NOT EXISTS join_runs(first_page INTEGER PRIMARY KEY,"
                  " first_position INTEGER, last_position INTEGER, fences BLOB)");
  load();
  find_unowned_pages();
  insert_tail_ = std::make_unique<soci::statement>(
      (writer_.prepare << "INSERT INTO join_tail(position, keys) VALUES(:p, :k)",
       soci::use(tail_position_), soci::use(tail_keys_)));
}

void JoinIndex::load() {
  sqlite::Cursor runs(writer_,
                      "SELECT first_page, first_position, last_position, fences FROM join_runs"
                      " ORDER BY first_position");
  while (runs.step()) {
    auto run = std::make_shared<Run>();
    run->first_page = runs.integer(0);
    run->first_position = static_cast<std::uint64_t>(runs.integer(1));
    run->last_position = static_cast<std::uint64_t>(runs.integer(2));
    run->fences = numbers_of(runs.blob(3), "join_runs.fences");
    runs_.push_back(std::move(run));
  }
  sqlite::Cursor tail(writer_, "SELECT position, keys FROM join_tail ORDER BY position");
  while (tail.step()) {
    const std::vector<std::uint64_t> keys = numbers_of(tail.blob(1), "join_tail.keys");
    tail_.add(static_cast<std::uint64_t>(tail.integer(0)), keys);
  }
}

void JoinIndex::add(std::uint64_t position, std::span<const std::uint64_t> keys) {
  if (keys.empty()) return;
  tail_position_ = static_cast<long long>(position);
  assign(tail_keys_, {reinterpret_cast<const char*>(keys.data()), keys.size_bytes()});
  insert_tail_->execute(true);
  staged_.add(position, keys);
}

void JoinIndex::flush_if_full() {
  // The writer is the only one that changes tail_, so it may read it without the lock.
  if (tail_.size() + staged_.size() < run_entries_) return;
  JoinTail all = tail_;
  all.append(staged_);
  staged_run_ = write_run(*all.merged());
  sqlite::execute(writer_, "DELETE FROM join_tail");
}

// Pages of a merge that a crash cut short.
void JoinIndex::find_unowned_pages() {
  Runs owned = runs_;
  std::sort(owned.begin(), owned.end(),
            [](const auto& a, const auto& b) { return a->first_page < b->first_page; });
  std::int64_t end = 0;
  {
    sqlite::Cursor greatest(writer_, "SELECT coalesce(max(page), 0) + 1 FROM join_pages");
    greatest.step();
    end = greatest.integer(0);
  }
  std::int64_t at = 0;
  for (const auto& run : owned) {
    if (run->first_page > at) trash_.push_back({at, run->first_page});
    at = std::max(at, run->end_page());
  }
  if (end > at) trash_.push_back({at, end});
  next_page_ = std::max(end, at);
}

std::shared_ptr<const JoinIndex::Run> JoinIndex::write_run(const JoinTail::Segment& sorted) {
  auto run = std::make_shared<Run>();
  const auto [low, high] = std::minmax_element(sorted.offsets.begin(), sorted.offsets.end());
  run->first_position = sorted.first_position + *low;
  run->last_position = sorted.first_position + *high;
  run->first_page = next_page_;
  long long page = run->first_page;
  soci::blob body(writer_);
  soci::statement insert_page =
      (writer_.prepare << "INSERT INTO join_pages(page, body) VALUES(:p, :b)", soci::use(page),
       soci::use(body));
  std::vector<Pages::Entry> entries;
  for (std::size_t begin = 0; begin < sorted.keys.size(); begin += kPageEntries, ++page) {
    const std::size_t end = std::min(begin + kPageEntries, sorted.keys.size());
    entries.clear();
    for (std::size_t i = begin; i < end; ++i) {
      entries.push_back({sorted.keys[i], sorted.offsets[i] - *low});
    }
    assign(body, join_page_bytes(entries));
    insert_page.execute(true);
    run->fences.push_back(entries.front().key);
  }

  write_directory(*run);
  next_page_ = run->end_page();
  return run;
}

void JoinIndex::write_directory(const Run& run) {
  const long long first_page = run.first_page;
  const auto first_position = static_cast<long long>(run.first_position);
  const auto last_position = static_cast<long long>(run.last_position);
  soci::blob fences(writer_);
  assign(fences, bytes_of(run.fences));
  writer_ << "INSERT INTO join_runs(first_page, first_position, last_position, fences)"
             " VALUES(:a, :b, :c, :d)",
      soci::use(first_page), soci::use(first_position), soci::use(last_position), soci::use(fences);
}

void JoinIndex::remove_before(std::uint64_t position) {
  const auto bound = static_cast<long long>(position);
  writer_ << "DELETE FROM join_tail WHERE position < :p", soci::use(bound);
  // A run goes when all of it is old; what an older run still lists is filtered by the journal.
  for (const auto& run : runs_) {
    if (run->last_position >= position) continue;
    const long long first = run->first_page;
    const long long end = run->end_page();
    writer_ << "DELETE FROM join_pages WHERE page >= :a AND page < :b", soci::use(first),
        soci::use(end);
    writer_ << "DELETE FROM join_runs WHERE first_page = :a", soci::use(first);
  }
  staged_remove_before_ = position;
}

void JoinIndex::publish() {
  JoinTail tail;  // made before the lock, which look-ups wait for
  if (staged_run_ == nullptr) {
    tail = tail_;
    tail.append(staged_);
  }
  const std::uint64_t position = staged_remove_before_;
  if (position != 0) tail.remove_before(position);
  {
    const std::unique_lock lock(mutex_);
    if (staged_run_ != nullptr) runs_.push_back(std::move(staged_run_));
    std::swap(tail_, tail);
    if (position != 0) {
      removed_before_ = std::max(removed_before_, position);
      std::erase_if(runs_, [&](const auto& run) { return run->last_position < position; });
    }
  }
  discard();
}

void JoinIndex::discard() {
  staged_ = {};
  staged_run_ = nullptr;
  staged_remove_before_ = 0;
}

std::vector<std::uint64_t> JoinIndex::find(std::span<const std::uint64_t> keys,
                                           Pages& pages) const {
  constexpr int kTriesMax = 8;  // runs may be merged away while one looks
  std::vector<std::uint64_t> positions;
  bool is_complete = false;
  for (int i = 0; i < kTriesMax && !is_complete; ++i) {
    is_complete = true;
    positions.clear();
    Runs runs;
    {
      const std::shared_lock lock(mutex_);
      runs = runs_;
      tail_.find(keys, positions);
    }
    if (!runs.empty()) {
      const Pages::Snapshot snapshot(pages);  // of a later state than that of `runs`
      for (const auto& run : runs) {
        for (const std::uint64_t key : keys) {
          is_complete = find_in_run(*run, key, pages, positions) && is_complete;
        }
      }
    }
    if (read_only_) break;
  }
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return positions;
}

std::size_t JoinIndex::run_count() const {
  const std::shared_lock lock(mutex_);
  return runs_.size();
}

void JoinIndex::visit(Pages& pages, const EntryVisitor& visitor) const {
  const std::shared_lock lock(mutex_);
  for (const auto& run : runs_) {
    for (std::int64_t page = run->first_page; page < run->end_page(); ++page) {
      for (const Pages::Entry& entry : pages.read(page)) {
        visitor(entry.key, run->first_position + entry.offset);
      }
    }
  }
  tail_.visit(visitor);
}

bool JoinIndex::find_in_run(const Run& run, std::uint64_t key, Pages& pages,
                            std::vector<std::uint64_t>& positions) {
  const auto& fences = run.fences;
  // The page before the first fence >= key may end with the key, and the key may go on over pages.
  auto fence = std::lower_bound(fences.begin(), fences.end(), key);
  if (fence != fences.begin()) --fence;
  for (; fence != fences.end() && *fence <= key; ++fence) {
    pages.select_.bind(1, run.first_page + (fence - fences.begin()));
    const sqlite::CursorScope scope(pages.select_);
    if (!pages.select_.step()) return false;  // removed since the directory was read
    const std::string_view body = pages.select_.blob(0);
    const std::size_t count = body.size() / kEntryBytes;
    if (body.size() % kEntryBytes != 0) {
      throw DamageError("join index: a page of " + std::to_string(body.size()) + " bytes");
    }
    const char* const offsets = body.data() + count * sizeof(std::uint64_t);
    std::size_t low = 0;
    for (std::size_t width = count; width > 0;) {  // first entry >= key
      const std::size_t half = width / 2;
      if (load_u64(body.data() + (low + half) * sizeof(std::uint64_t)) < key) {
        low += half + 1;
        width -= half + 1;
      } else {
        width = half;
      }
    }
    for (; low < count && load_u64(body.data() + low * sizeof(std::uint64_t)) == key; ++low) {
      std::uint32_t offset = 0;
      std::memcpy(&offset, offsets + low * sizeof(offset), sizeof(offset));
      positions.push_back(run.first_position + offset);
    }
  }
  return true;
}

}  // namespace ephor::host
