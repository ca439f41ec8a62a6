// SPDX-License-Identifier: Apache-2.0
//
// What an instance may get wrong before it is left alone, and which events it is not asked again.
// Plain bookkeeping: times are passed in, nothing is called.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

namespace ephor::host {

// Keys of `faults:` in the configuration.
struct FaultSettings {
  std::uint32_t attempts = 3;  // of one event, alone, before it is skipped
  std::uint32_t budget = 20;   // failures within the window; the next one is one too many
  std::int64_t window_ns = 60'000'000'000;
  std::int64_t backoff_ns = 500'000'000;  // doubled from one quarantine or lost process to the next
  std::int64_t backoff_max_ns = 60'000'000'000;
  std::uint32_t restarts_max = 8;  // from quarantine, without a good window between; then no more
  std::int64_t soft_limit_ns = 5'000'000'000;   // of one call: degraded, its stack is logged
  std::int64_t hard_limit_ns = 60'000'000'000;  // of one call: quarantined; 0: none
  friend bool operator==(const FaultSettings&, const FaultSettings&) = default;
};

// The failures of one instance. Not thread-safe.
class FaultLedger {
 public:
  // `is_replay`: results must not depend on the clock, so failures never expire and there is no
  // second chance.
  FaultLedger(const FaultSettings& settings, bool is_replay)
      : settings_(settings), is_replay_(is_replay) {}

  enum class Action { go_on, quarantine, give_up };
  struct Verdict {
    Action action = Action::go_on;
    std::int64_t delay_ns = 0;  // before a new life; of give_up: none comes
  };
  // A call failed.
  Verdict note_failure(std::int64_t now_ns);
  // The process the plugin lived in has ended, or was ended.
  Verdict note_loss(std::int64_t now_ns);

  // A window has passed without a failure.
  bool is_calm(std::int64_t now_ns) const;
  // Everything is forgiven: an operator said so.
  void clear();

 private:
  Verdict judge(std::int64_t now_ns);
  std::int64_t backoff(std::uint32_t round) const;

  const FaultSettings settings_;
  const bool is_replay_;
  std::deque<std::int64_t> failures_;  // within the window
  std::int64_t last_ns_ = INT64_MIN;
  std::uint32_t losses_ = 0;  // in a row
  std::uint32_t rounds_ = 0;  // quarantines in a row
};

// Events that an instance fails on, by sequence. Not thread-safe.
class PoisonEvents {
 public:
  explicit PoisonEvents(std::uint32_t attempts) : attempts_max_(attempts) {}

  // It failed alone, with that error. Returns how often by now.
  std::uint32_t note_failed(std::uint64_t sequence, std::string error);
  bool is_poison(std::uint64_t sequence) const { return poison_.contains(sequence); }
  const std::string& error_of(std::uint64_t sequence) const { return failed_.at(sequence).error; }
  // True the first time: a poison event may be passed again after a restart.
  bool note_skipped(std::uint64_t sequence);
  // Whether any of [first, last] is.
  bool any_within(std::uint64_t first, std::uint64_t last) const;
  // What is saved is not read again.
  void forget_before(std::uint64_t sequence);

 private:
  const std::uint32_t attempts_max_;
  struct Failed {
    std::uint32_t attempts = 0;
    std::string error;  // the last one
    bool was_skipped = false;
  };
  std::map<std::uint64_t, Failed> failed_;
  std::set<std::uint64_t> poison_;
};

}  // namespace ephor::host
