// SPDX-License-Identifier: Apache-2.0
//
// What readers meet where the log is no longer whole: a damaged batch is recorded once, whoever
// meets it first, and every reader that passes a gap is told what it misses.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/log_reader.hpp"
#include "core/metric_registry.hpp"
#include "store/journal.hpp"

namespace ephor::host {

class GapLedger {
 public:
  // All of it outlives the ledger.
  GapLedger(Journal& journal, const LogReader& reader, MetricRegistry& metrics);

  // What a reader finds from `from_sequence` on.
  struct Step {
    bool has_batch = false;           // of which stored and events were filled
    std::uint64_t next_sequence = 0;  // where the reader is now; behind the gap if there was one
    std::string gap;                  // what it missed, for its health; empty: nothing
  };
  // [dispatch] Never throws for damage; HostError if the journal cannot be asked.
  Step next(const std::string& instance, std::uint64_t from_sequence, StoredBatch& stored,
            std::vector<ephor_event>& events);

  // [any] Records the damage if it is new, and says it in the log.
  void note_damage(const DamageError& damage);

  // [any] The damage recorded since the last call.
  std::vector<JournalGap> take_new();
  // [any] What each instance missed since the start, in the order it met it.
  std::map<std::string, std::vector<std::string>> missed() const;

 private:
  std::string pass(const std::string& instance, std::uint64_t first_position,
                   std::uint64_t last_position);

  Journal& journal_;
  const LogReader& reader_;
  MetricRegistry& metrics_;
  mutable std::mutex mutex_;  // guards new_ and missed_
  std::vector<JournalGap> new_;
  std::map<std::string, std::vector<std::string>> missed_;
};

// "sequences 65536 to 131071 (2 batches, 17 events): retention"
std::string described_gap(const JournalGap& gap);

}  // namespace ephor::host
