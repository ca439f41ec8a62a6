// SPDX-License-Identifier: Apache-2.0
//
// The journal's index: join key -> positions of the batches that hold it.
//
// Keys are hashes, so in one B-tree every key of a batch would touch a page of its own, and each
// commit would write hundreds of pages. Instead keys collect in memory (and, to survive a crash, as
// one row per batch in `join_tail`); after kRunEntries of them they are written once as a run:
// consecutive pages of sorted (key, position), each as large as a database page, and a directory
// row with the first key of every page. A look-up searches the tail in memory and reads one page
// per run. Eight runs of about one size are merged into one, a little at a time, so that
// the number of runs grows with the logarithm of the journal.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <span>
#include <vector>

#include "store/join_tail.hpp"
#include "store/sqlite_cursor.hpp"

namespace ephor::host {

class JoinIndex {
 public:
  static constexpr std::size_t kRunEntries = 262'144;  // 3 MB in memory and on disk

  // Makes the tables if they are missing and loads tail and directory. `writer` outlives it.
  explicit JoinIndex(soci::session& writer, std::size_t run_entries = kRunEntries,
                     bool read_only = false);
  ~JoinIndex();

  // Writer's side, one thread, inside the writer's transaction; `publish` after its commit,
  // `discard` after its failure.
  void add(std::uint64_t position, std::span<const std::uint64_t> keys);  // sorted, distinct
  void flush_if_full();
  void remove_before(std::uint64_t position);
  void publish();
  void discard();

  // Writer's side, with a transaction of its own: forgets everything, to be built anew.
  void clear();
  // Writer's side, with transactions of its own: merges or tidies up some 500 KB; false if there is
  // nothing to do. A crash in the middle leaves pages that no run owns; they go at the next start.
  bool merge_step();

  // [any]
  std::size_t run_count() const;

  // Any thread, with a connection of its own. Ascending, distinct.
  class Pages {  // reads one page of a run
   public:
    explicit Pages(soci::session& session);

    // The entries of a page; empty if it is gone. Throws if it is damaged.
    struct Entry {
      std::uint64_t key = 0;
      std::uint32_t offset = 0;  // position less the run's first
      friend auto operator<=>(const Entry&, const Entry&) = default;
    };
    std::vector<Entry> read(std::int64_t page);

   private:
    friend class JoinIndex;
    class Snapshot;

    soci::session& session_;
    sqlite::Cursor select_;
    sqlite::Cursor begin_;
    sqlite::Cursor end_;
  };
  // Of the batches that hold one of `keys` at least. `pages` has no transaction open.
  std::vector<std::uint64_t> find(std::span<const std::uint64_t> keys, Pages& pages) const;
  // Every entry there is. `pages` is a connection of the caller's.
  using EntryVisitor = std::function<void(std::uint64_t key, std::uint64_t position)>;
  void visit(Pages& pages, const EntryVisitor& visitor) const;

 private:
  struct Run {
    std::int64_t first_page = 0;
    std::uint64_t first_position = 0;
    std::uint64_t last_position = 0;
    std::vector<std::uint64_t> fences;  // the first key of each page

    std::int64_t end_page() const { return first_page + static_cast<std::int64_t>(fences.size()); }
  };
  using Runs = std::vector<std::shared_ptr<const Run>>;
  struct PageRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  struct Merge;  // of several runs into one, in hand

  void load();
  void find_unowned_pages();
  std::shared_ptr<const Run> write_run(const JoinTail::Segment& sorted);
  void write_directory(const Run& run);
  void begin_merge();
  void advance_merge();
  void finish_merge();
  void give_up_merge();
  void empty_trash();
  unsigned level_of(const Run& run) const;
  // False if a page was gone.
  static bool find_in_run(const Run& run, std::uint64_t key, Pages& pages,
                          std::vector<std::uint64_t>& positions);

  soci::session& writer_;
  const std::size_t run_entries_;
  const bool read_only_;

  // The transaction in hand; writer's thread only.
  JoinTail staged_;
  std::shared_ptr<const Run> staged_run_;
  std::uint64_t staged_remove_before_ = 0;

  // Writer's thread only.
  std::int64_t next_page_ = 1;
  std::uint64_t removed_before_ = 0;
  std::shared_ptr<Merge> merge_;  // shared, because its type is another file's affair
  std::vector<PageRange> trash_;  // of merged runs, and what a crash left

  // Prepared once; SOCI binds these variables.
  long long tail_position_ = 0;
  soci::blob tail_keys_;
  std::unique_ptr<soci::statement> insert_tail_;

  mutable std::shared_mutex mutex_;  // guards runs_ and tail_
  Runs runs_;                        // ascending by position
  JoinTail tail_;
};

}  // namespace ephor::host
