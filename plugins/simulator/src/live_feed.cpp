// SPDX-License-Identifier: Apache-2.0
#include "live_feed.hpp"

#include <algorithm>

namespace ephor::simulator {

LiveFeed::LiveFeed(Session& session, FeedTiming timing, std::int64_t now_ns)
    : session_(session), timing_(timing), next_ns_(now_ns - timing.backfill_ns) {
  if (session.last_time_ns() == 0) return;
  next_ns_ = std::max(next_ns_, session.last_time_ns() + timing.cycle_interval_ns);
}

FeedBatch LiveFeed::take(std::int64_t now_ns, std::uint64_t cycles_most) {
  FeedBatch batch;
  while (next_ns_ <= now_ns && batch.cycles < cycles_most) {
    const Cycle cycle = session_.step(next_ns_);
    batch.not_before_ns = std::max(
        batch.not_before_ns, render(session_.settings(), cycle, batch.lines, tally_).last_time_ns);
    ++batch.cycles;
    next_ns_ += is_behind(now_ns) ? timing_.backfill_interval_ns : timing_.cycle_interval_ns;
  }
  return batch;
}

}  // namespace ephor::simulator
