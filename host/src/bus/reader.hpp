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
#include "bus/topic_filter.hpp"

namespace ephor::host {

enum class OverflowPolicy : std::uint32_t {
  replay = EPHOR_POLICY_REPLAY,
  drop_oldest = EPHOR_POLICY_DROP_OLDEST,
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
  std::uint64_t delivered = 0;  // events given to the sink
  // Events lost to drop_oldest: all events of the log that were skipped, whatever their topic (what
  // is gone cannot be filtered any more). Exact.
  std::uint64_t skipped = 0;
  std::uint64_t lag = 0;  // events published on this bus and not yet read (or skipped)
  std::uint64_t lag_max = 0;
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
  bool is_behind() const { return is_behind_.load(std::memory_order_acquire); }  // [any]
  OverflowPolicy policy() const { return policy_; }
  ReaderStats stats() const;  // [any]

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
  void announce(std::uint64_t index, std::uint64_t count, std::memory_order order);
  Bus::Range announced() const;

  Bus& bus_;
  TopicFilter filter_;
  const OverflowPolicy policy_;

  // The owner's.
  std::uint64_t cursor_ = 0;           // ring index of the batch to read next
  std::uint32_t offset_ = 0;           // events of it that are read
  std::uint64_t head_seen_ = 0;        // a lower bound of the bus's head
  std::uint64_t read_ = 0;             // events of the bus before cursor_ and offset_
  std::uint64_t resume_sequence_ = 0;  // where the last rejoin said to go on
  std::uint32_t pinned_ = 0;           // batches in batches_
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
  std::atomic<bool> is_behind_{false};
};

}  // namespace ephor::host
