// SPDX-License-Identifier: Apache-2.0
//
// How much of the journal is kept. Whole batches go from its start, by the time they arrived (a
// recording of 2017 that was posted today is of today) and by stored bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "store/sqlite_journal.hpp"

namespace ephor::host {

struct RetentionSettings {
  double max_age_days = 0.0;    // 0: for ever
  std::uint64_t max_bytes = 0;  // of bodies and ids; 0: any number
  // What an instance has not read and saved stays, however old or large it is.
  bool keep_unread = true;

  bool is_on() const { return max_age_days > 0.0 || max_bytes > 0; }
};

// [control] One thread.
class Retention {
 public:
  // The first position that somebody still needs, and who.
  struct Need {
    std::uint64_t position = UINT64_MAX;
    std::string who;
  };

  // `journal` outlives it. Ids among the newest `ids_window` events of the log outlive their
  // events.
  Retention(RetentionSettings settings, SqliteJournal& journal, std::uint64_t ids_window)
      : settings_(settings), journal_(journal), ids_window_(ids_window) {}

  bool is_on() const { return settings_.is_on(); }
  // One transaction of a few milliseconds; false if nothing is due. Throws HostError.
  bool step(std::int64_t now_ns, const Need& need);
  // Who keeps what would have gone otherwise; empty: nobody.
  const std::string& held_by() const { return held_by_; }

 private:
  const RetentionSettings settings_;
  SqliteJournal& journal_;
  const std::uint64_t ids_window_;
  std::string held_by_;
};

}  // namespace ephor::host
