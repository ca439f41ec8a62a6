// SPDX-License-Identifier: Apache-2.0
#include "store/gap_table.hpp"

#include <algorithm>

namespace ephor::host {
namespace {

// Sequences wrap into negative numbers only after 2^47 batches.
std::int64_t signed_of(std::uint64_t number) { return static_cast<std::int64_t>(number); }
std::uint64_t unsigned_of(std::int64_t number) { return static_cast<std::uint64_t>(number); }

}  // namespace

GapTable::GapTable(soci::session& writer, bool read_only) : writer_(writer), read_only_(read_only) {
  {
    sqlite::Cursor exists(writer_, "SELECT 1 FROM sqlite_master WHERE name = 'gaps'");
    if (!exists.step()) return;
  }
  sqlite::Cursor row(writer_,
                     "SELECT first_seq, last_seq, batches, events, bytes, why, at_ns FROM gaps"
                     " ORDER BY first_seq");
  while (row.step()) {
    JournalGap gap;
    gap.first_sequence = unsigned_of(row.integer(0));
    gap.last_sequence = unsigned_of(row.integer(1));
    gap.batches = unsigned_of(row.integer(2));
    if (!row.is_null(3)) gap.events = unsigned_of(row.integer(3));
    gap.bytes = unsigned_of(row.integer(4));
    gap.why = std::string(row.text(5));
    gap.at_ns = row.integer(6);
    gaps_.push_back(std::move(gap));
  }
}

std::vector<JournalGap> GapTable::all() const {
  const std::lock_guard lock(mutex_);
  return gaps_;
}

bool GapTable::covers(std::uint64_t first_sequence, std::uint64_t last_sequence) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t open = first_sequence;  // everything before it is covered
  for (const JournalGap& gap : gaps_) {
    if (gap.first_sequence > open) break;
    if (gap.last_sequence >= open) open = gap.last_sequence + 1;
    if (open > last_sequence) return true;
  }
  return false;
}

void GapTable::add(const JournalGap& gap) {
  JournalGap made = gap;
  if (gap.why == kRetention) {
    const std::lock_guard lock(mutex_);
    for (const JournalGap& known : gaps_) {
      if (known.why != kRetention || known.last_sequence + 1 != gap.first_sequence) continue;
      made.first_sequence = known.first_sequence;
      made.batches += known.batches;
      made.events = known.events.value_or(0) + gap.events.value_or(0);
      made.bytes += known.bytes;
    }
  }
  if (!read_only_) {
    sqlite::Cursor insert(writer_, "INSERT OR REPLACE INTO gaps VALUES(?, ?, ?, ?, ?, ?, ?)");
    insert.bind(1, signed_of(made.first_sequence));
    insert.bind(2, signed_of(made.last_sequence));
    insert.bind(3, signed_of(made.batches));
    if (made.events) {
      insert.bind(4, signed_of(*made.events));
    } else {
      insert.bind_null(4);
    }
    insert.bind(5, signed_of(made.bytes));
    insert.bind_text(6, made.why);
    insert.bind(7, made.at_ns);
    insert.step();
  }
  staged_.push_back(std::move(made));
}

void GapTable::publish() {
  const std::lock_guard lock(mutex_);
  for (JournalGap& gap : staged_) {
    std::erase_if(
        gaps_, [&](const JournalGap& known) { return known.first_sequence == gap.first_sequence; });
    const auto place = std::upper_bound(gaps_.begin(), gaps_.end(), gap.first_sequence,
                                        [](std::uint64_t sequence, const JournalGap& known) {
                                          return sequence < known.first_sequence;
                                        });
    gaps_.insert(place, std::move(gap));
  }
  staged_.clear();
}

}  // namespace ephor::host
