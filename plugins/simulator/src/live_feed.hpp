// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "render.hpp"
#include "session.hpp"

namespace ephor::simulator {

struct FeedTiming {
  std::int64_t backfill_ns = 0;           // how far back a new session begins
  std::int64_t backfill_interval_ns = 0;  // between two cycles of the past
  std::int64_t cycle_interval_ns = 0;     // between two cycles now
};

// Lines to send, not before the clock shows `not_before_ns` (events are never from the future).
struct FeedBatch {
  std::string lines;
  std::int64_t not_before_ns = 0;
  std::uint64_t cycles = 0;
};

// Decides which cycles of a session are due at a time it is told. Far behind the clock (a new
// session, or one that was stopped for a while) it goes in backfill intervals, many cycles at once;
// close to it, in cycle intervals, one by one.
class LiveFeed {
 public:
  // A session that has not begun begins at now - backfill; another goes on where it ended, but not
  // further back than that.
  LiveFeed(Session& session, FeedTiming timing, std::int64_t now_ns);

  // Empty lines: nothing is due before next_ns().
  FeedBatch take(std::int64_t now_ns, std::uint64_t cycles_most);
  std::int64_t next_ns() const { return next_ns_; }
  bool is_behind(std::int64_t now_ns) const {
    return now_ns - next_ns_ >= timing_.backfill_interval_ns;
  }
  const Tally& tally() const { return tally_; }

 private:
  Session& session_;
  FeedTiming timing_;
  std::int64_t next_ns_;
  Tally tally_;
};

}  // namespace ephor::simulator
