// SPDX-License-Identifier: Apache-2.0
//
// One subscription's place in the log: a cursor on the bus's ring, a topic filter and the counters
// that show what it got and what it lost.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "bus/bus.hpp"
#include "bus/duration_histogram.hpp"
#include "bus/topic_filter.hpp"

namespace ephor::host {

enum class OverflowPolicy : std::uint32_t {
  replay = EPHOR_POLICY_REPLAY,
  drop_oldest = EPHOR_POLICY_DROP_OLDEST,
  // As replay for the bus: who reads makes fewer of what has piled up (core/conflater.hpp).
  latest = EPHOR_POLICY_LATEST,
};

// Only what is published after the reader was made.
inline constexpr std::uint64_t kFromNow = UINT64_MAX;

struct ReaderOptions {
  TopicFilter filter = {};
  OverflowPolicy policy = OverflowPolicy::replay;
  // The first one wanted. If the ring does not hold it, the reader begins on the journal, whatever
  // its policy: the first poll says fell_behind.
  std::uint64_t next_sequence = kFromNow;
};

struct ReaderStats {
  std::uint64_t delivered = 0;  // events given to the sink, and those of count_delivered()
  // Events lost to drop_oldest: all events of the log that were skipped, whatever their topic (what
  // is gone cannot be filtered any more). Exact.
  std::uint64_t skipped = 0;
  std::uint64_t lag = 0;  // events published on this bus and not yet read (or skipped)
  std::uint64_t lag_max = 0;
  std::int64_t lag_ns = 0;  // since the oldest event that is not handled yet was published
};

class Reader {
 public:
  static constexpr std::uint32_t kSliceEvents = 256;

  enum class State {
    empty,        // nothing new
    delivered,    // went on; `events` may be 0 if nothing matched
    fell_behind,  // what comes next is no longer (or was never) in the ring: read the journal from
                  // next_sequence(), tell read_elsewhere(), and try_rejoin()
  };
  struct Result {
    State state = State::empty;
    std::uint32_t events = 0;  // given to the sink
  };

  // [control] `bus` outlives the reader.
  Reader(Bus& bus, ReaderOptions options);
  ~Reader();  // [control] not during poll
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // One thread at a time, like everything down to has_more(). Calls
  // sink(const ephor_event* events, std::uint32_t count) with slices of 1 to 256 matching events in
  // log order, until `budget` events are delivered, nothing is left, or enough was looked at
  // without a match that the caller should look around. Events and records die when the sink
  // returns. A sink that throws has seen its slice; the reader goes on behind it.
  template <typename Sink>
  Result poll(Sink&& sink, std::uint32_t budget = kSliceEvents) {
    using Function = std::remove_reference_t<Sink>;
    return poll_with({const_cast<void*>(static_cast<const void*>(std::addressof(sink))),
                      [](void* user, const ephor_event* events, std::uint32_t count) {
                        (*static_cast<Function*>(user))(events, count);
                      }},
                     budget);
  }

  // After fell_behind: everything below `next_sequence` has been read from the journal, in this
  // step `events` of them (of any topic).
  void read_elsewhere(std::uint64_t next_sequence, std::uint64_t events);
  // True if the ring holds everything from `next_sequence` on; polling then goes on from there.
  // What the ring gets later but lies below it is not delivered again.
  bool try_rejoin(std::uint64_t next_sequence);
  // Goes on from `next_sequence`, which may lie before what was read, with another subscription;
  // attaches. `events_back`: how many events of the bus are read once more. Not during poll.
  void restart(TopicFilter filter, OverflowPolicy policy, std::uint64_t next_sequence,
               std::uint64_t events_back);

  // [any] Nobody waits for a detached reader, and the ring keeps nothing for it; what it needs
  // later is in the journal.
  void detach();
  bool is_detached() const { return is_detached_.load(std::memory_order_acquire); }

  // What is read from here on is not seen by others as handled before release(): for a caller that
  // looks at events now and handles them later. Records still die when the sink returns.
  void hold();
  void release();
  bool is_holding() const { return is_holding_; }
  // Where reading goes on; ahead of next_sequence() while holding.
  std::uint64_t unread_sequence() const { return unread_sequence_; }

  // When what the sink has in hand was published (monotonic clock; of several small batches the
  // first one's). Before reading a stored batch the caller says when that was.
  std::int64_t published_ns() const { return published_ns_; }
  void note_stored_batch(std::int64_t published_ns);
  // The caller has handed on events that the reader does not know of, from the journal or held
  // back. Their delay is counted unless they were published before this bus began.
  void count_delivered(std::int64_t published_ns, std::uint32_t events);

  // For Waker::wait. Stays true while the reader is behind.
  bool has_more() const {
    return is_behind_.load(std::memory_order_relaxed) ||
           bus_.head_.load(std::memory_order_seq_cst) != cursor_;
  }
  // For what the caller reads from the journal; the owner's, like poll.
  TopicFilter& filter() { return filter_; }

  // [any] Everything below it has been handled.
  std::uint64_t next_sequence() const { return next_sequence_.load(std::memory_order_acquire); }
  std::uint64_t next_position() const { return position_of(next_sequence()); }
  bool is_behind() const { return is_behind_.load(std::memory_order_acquire); }      // [any]
  OverflowPolicy policy() const { return policy_.load(std::memory_order_relaxed); }  // [any]
  // Events of the bus that are read or skipped; the owner's.
  std::uint64_t events_read() const { return read_; }
  std::uint64_t lag() const;  // [any] ReaderStats::lag
  ReaderStats stats() const;  // [any]
  // [any] From the publication of a batch to the hand-over of its events, per event delivered.
  const DurationHistogram& queue_delay() const { return queue_delay_; }

 private:
  friend class Bus;
  // How many batches one announcement may cover. Small batches are taken together, so that a slice
  // is worth its call.
  static constexpr std::uint32_t kGatherBatches = 64;
  static constexpr std::size_t kGatherBelowEvents = 32;
  static constexpr std::uint32_t kReadEventsMax = 16 * kSliceEvents;

  struct SinkRef {
    void* user;
    void (*call)(void* user, const ephor_event* events, std::uint32_t count);
  };
  enum class Pin { empty, pinned, behind };
  class Announcement;

  Result poll_with(SinkRef sink, std::uint32_t budget);
  Pin pin();
  bool pin_from_cursor(std::uint64_t available);
  void gather(std::uint64_t available);
  void skip_to_oldest();
  std::uint32_t deliver_next(SinkRef sink);
  std::uint32_t deliver_from(const Batch& batch, SinkRef sink);
  std::uint32_t deliver_gathered(SinkRef sink);
  void skip_what_was_read_elsewhere(const Batch& batch);
  void give(SinkRef sink, const ephor_event* events, std::uint32_t count);
  void advance_to(std::uint64_t next_sequence);
  void show_position();
  void note_delay(std::int64_t now_ns, std::int64_t published_ns, std::uint64_t events);
  void set_oldest(std::int64_t published_ns);
  void announce(std::uint64_t index, std::uint64_t count, std::memory_order order);
  Bus::Range announced() const;

  Bus& bus_;
  TopicFilter filter_;
  std::atomic<OverflowPolicy> policy_;

  // The owner's.
  std::uint64_t cursor_ = 0;           // ring index of the batch to read next
  std::uint32_t offset_ = 0;           // events of it that are read
  std::uint64_t head_seen_ = 0;        // a lower bound of the bus's head
  std::uint64_t read_ = 0;             // events of the bus before cursor_ and offset_
  std::uint64_t resume_sequence_ = 0;  // where the last rejoin said to go on
  std::uint64_t unread_sequence_ = 0;
  std::int64_t published_ns_ = 0;
  bool is_holding_ = false;
  std::uint32_t pinned_ = 0;  // batches in batches_
  std::array<const Batch*, kGatherBatches> batches_{};
  std::unique_ptr<ephor_event[]> scratch_;

  // Written by the owner, read by the publisher now and then, and by whoever looks at counters.
  alignas(128) std::atomic<std::uint64_t> announced_{0};  // ring index << 8 | count; count 0: none
  std::atomic<std::uint64_t> index_{0};                   // cursor_, for the publisher
  std::atomic<std::uint64_t> next_sequence_{0};
  std::atomic<std::uint64_t> read_published_{0};  // read_
  std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> skipped_{0};
  std::atomic<std::uint64_t> lag_max_{0};
  std::atomic<std::int64_t> oldest_ns_{0};  // publication of what is in hand; 0: nothing is
  std::atomic<bool> is_behind_{false};
  std::atomic<bool> is_detached_{false};
  DurationHistogram queue_delay_;
};

}  // namespace ephor::host
