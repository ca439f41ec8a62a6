// SPDX-License-Identifier: Apache-2.0
//
// The merging half of the join index: a k-way merge of sorted runs, in steps of a few hundred KB,
// so that no commit waits long for the writer's connection.
#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>

#include "store/join_index.hpp"
#include "store/join_page.hpp"

namespace ephor::host {
namespace {
constexpr int kMergePages = 128;  // written in one step
constexpr int kTrashPages = 512;  // removed in one step
}  // namespace

struct JoinIndex::Merge {
  struct Input {
    std::shared_ptr<const Run> run;
    std::vector<Pages::Entry> entries;  // of the page in hand
    std::size_t at = 0;
    std::int64_t next_page = 0;
  };

  Merge(soci::session& session, const Runs& from)
      : pages(session), run(std::make_shared<Run>()), body(session) {
    for (const auto& one : from) {
      inputs.push_back({one, {}, 0, one->first_page});
      reserved_pages += static_cast<std::int64_t>(one->fences.size());
    }
    run->first_position = from.front()->first_position;
    run->last_position = from.front()->last_position;
    for (const auto& one : from) {
      run->first_position = std::min(run->first_position, one->first_position);
      run->last_position = std::max(run->last_position, one->last_position);
    }
  }

  // False at the end of all inputs.
  bool next(Pages::Entry& entry) {
    Input* least = nullptr;
    for (Input& input : inputs) {
      while (input.at == input.entries.size() && input.next_page < input.run->end_page()) {
        input.entries = pages.read(input.next_page++);
        input.at = 0;
        const std::uint64_t shift = input.run->first_position - run->first_position;
        for (Pages::Entry& one : input.entries) one.offset += static_cast<std::uint32_t>(shift);
      }
      if (input.at == input.entries.size()) continue;
      if (least == nullptr || input.entries[input.at] < least->entries[least->at]) least = &input;
    }
    if (least == nullptr) return false;
    entry = least->entries[least->at++];
    return true;
  }

  Pages pages;
  std::vector<Input> inputs;
  std::int64_t reserved_pages = 0;
  std::shared_ptr<Run> run;  // what it becomes
  soci::blob body;
  bool is_at_end = false;
};

JoinIndex::~JoinIndex() = default;

// A run of `base` pages is of level 0, of 8 base of level 1, of 64 base of level 2 ...
unsigned JoinIndex::level_of(const Run& run) const {
  std::size_t bound = 4 * (run_entries_ / kPageEntries + 1);
  unsigned level = 0;
  for (; run.fences.size() >= bound; bound *= kMergedRuns) ++level;
  return level;
}

bool JoinIndex::merge_step() {
  if (!trash_.empty()) {
    empty_trash();
    return true;
  }
  if (merge_ == nullptr) begin_merge();
  if (merge_ == nullptr) return false;
  const bool is_gone =
      std::any_of(merge_->inputs.begin(), merge_->inputs.end(), [&](const Merge::Input& input) {
        return std::find(runs_.begin(), runs_.end(), input.run) == runs_.end();
      });
  if (is_gone) {  // retention took one of the runs
    give_up_merge();
    return true;
  }
  try {
    writer_.begin();
    if (merge_->is_at_end) {
      finish_merge();
    } else {
      advance_merge();
      writer_.commit();
    }
  } catch (...) {
    sqlite::roll_back(writer_);
    give_up_merge();
    throw;
  }
  return true;
}

void JoinIndex::clear() {
  try {
    writer_.begin();
    for (const char* table : {"join_tail", "join_pages", "join_runs"}) {
      sqlite::execute(writer_, std::string("DELETE FROM ") + table);
    }
    writer_.commit();
  } catch (...) {
    sqlite::roll_back(writer_);
    throw;
  }
  merge_.reset();
  trash_.clear();
  const std::unique_lock lock(mutex_);
  runs_.clear();
  tail_ = {};
}

// The first kMergedRuns neighbours of one level.
void JoinIndex::begin_merge() {
  for (std::size_t first = 0; first + kMergedRuns <= runs_.size(); ++first) {
    const Runs from(runs_.begin() + static_cast<std::ptrdiff_t>(first),
                    runs_.begin() + static_cast<std::ptrdiff_t>(first + kMergedRuns));
    const unsigned level = level_of(*from.front());
    const bool is_one_level = std::all_of(from.begin(), from.end(),
                                          [&](const auto& run) { return level_of(*run) == level; });
    if (!is_one_level) continue;
    auto merge = std::make_shared<Merge>(writer_, from);
    if (merge->run->last_position - merge->run->first_position >
        std::numeric_limits<std::uint32_t>::max()) {
      continue;
    }
    merge->run->first_page = next_page_;
    next_page_ += merge->reserved_pages;
    merge_ = std::move(merge);
    return;
  }
}

void JoinIndex::advance_merge() {
  Run& run = *merge_->run;
  long long page = run.end_page();
  soci::statement insert = (writer_.prepare << "INSERT INTO join_pages(page, body) VALUES(:p, :b)",
                            soci::use(page), soci::use(merge_->body));
  std::vector<Pages::Entry> entries;
  for (int i = 0; i < kMergePages && !merge_->is_at_end; ++i, ++page) {
    entries.clear();
    for (Pages::Entry entry; entries.size() < kPageEntries;) {
      if (!merge_->next(entry)) {
        merge_->is_at_end = true;
        break;
      }
      if (run.first_position + entry.offset >= removed_before_) entries.push_back(entry);
    }
    if (entries.empty()) break;
    const std::string bytes = join_page_bytes(entries);
    merge_->body.trim(0);
    merge_->body.write(0, bytes.data(), bytes.size());
    insert.execute(true);
    run.fences.push_back(entries.front().key);
  }
}

void JoinIndex::finish_merge() {
  if (!merge_->run->fences.empty()) write_directory(*merge_->run);
  for (const Merge::Input& input : merge_->inputs) {
    const long long first = input.run->first_page;
    writer_ << "DELETE FROM join_runs WHERE first_page = :a", soci::use(first);
  }
  writer_.commit();
  const std::unique_lock lock(mutex_);
  const auto place = std::find(runs_.begin(), runs_.end(), merge_->inputs.front().run);
  if (!merge_->run->fences.empty()) runs_.insert(place, merge_->run);
  for (const Merge::Input& input : merge_->inputs) {
    std::erase(runs_, input.run);
    trash_.push_back({input.run->first_page, input.run->end_page()});
  }
  merge_.reset();
}

void JoinIndex::give_up_merge() {
  trash_.push_back({merge_->run->first_page, merge_->run->first_page + merge_->reserved_pages});
  merge_.reset();
}

void JoinIndex::empty_trash() {
  PageRange& range = trash_.back();
  const long long begin = range.begin;
  const long long end = std::min<std::int64_t>(range.end, range.begin + kTrashPages);
  try {
    writer_.begin();
    writer_ << "DELETE FROM join_pages WHERE page >= :a AND page < :b", soci::use(begin),
        soci::use(end);
    writer_.commit();
  } catch (...) {
    sqlite::roll_back(writer_);
    throw;
  }
  range.begin = end;
  if (range.begin >= range.end) trash_.pop_back();
}

}  // namespace ephor::host
