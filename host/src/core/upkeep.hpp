// SPDX-License-Identifier: Apache-2.0
//
// The upkeep of a host's data: retention, the merging of the journal's index, gaps, and what health
// and metrics say of all that.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/event_log.hpp"
#include "core/gap_ledger.hpp"
#include "core/metric_registry.hpp"
#include "core/retention.hpp"
#include "store/sqlite_journal.hpp"
#include "store/storage.hpp"

namespace ephor::host {

class Upkeep {
 public:
  // How far a reader that runs now has read; those that may lose events are left out.
  struct ReaderPlace {
    std::string instance;
    std::uint64_t sequence = 0;  // everything below it is handled
    bool saves_state = false;
  };
  struct Parts {
    SqliteJournal& journal;
    Storage& storage;
    EventLog& log;
    MetricRegistry& metrics;
    GapLedger& gaps;
    std::vector<std::string> instances;  // the configured ones
    std::function<std::vector<ReaderPlace>()> readers;
    std::filesystem::path storage_file;  // empty: not a file
  };

  // All parts outlive it.
  Upkeep(Parts parts, const RetentionSettings& retention, std::uint64_t dedup_window);

  // [control] Works at most some 50 ms; never throws.
  void tick();
  // [any] Nothing is removed while the lock is held.
  std::unique_lock<std::mutex> hold_still() { return std::unique_lock(still_mutex_); }

  // [any]
  void collect_metrics();
  // The member "journal" of the health document.
  nlohmann::json health() const;

 private:
  Retention::Need need();
  void announce_new_gaps();
  void report(const std::string& trouble);

  Parts parts_;
  std::mutex still_mutex_;           // held while something is removed or merged
  Retention retention_;              // of tick's thread
  std::set<std::string> strangers_;  // saved instances that are configured no more; said once
  Retention::Need need_;
  std::int64_t need_asked_ns_ = 0;

  mutable std::mutex mutex_;  // guards down to held_by_
  std::string trouble_;
  std::string held_by_;
};

}  // namespace ephor::host
