// SPDX-License-Identifier: Apache-2.0
//
// The live path of the log: one ring of batches, one publisher, any number of readers.
//
// The publisher never waits for a reader. It advances the head, and when the ring is over its
// bounds (or everyone has read a batch) it retires the oldest batches by advancing the tail. A
// reader that needs a retired batch finds it in the journal.
//
// Why nobody touches a freed batch. A reader announces the ring indices it is about to use
// (seq_cst), reads the slots, and then checks that the tail has not passed them (seq_cst). The
// publisher first advances the tail (seq_cst), then looks at the announcements (seq_cst), and frees
// a retired batch only if nobody announces it. Of the two looks at least one sees the other side's
// store: either the reader backs off, or the publisher keeps the batch and looks again at a later
// publish. A slot is overwritten only after the tail has passed it, with release stores: who reads
// a newer slot by mistake also sees the newer tail.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "bus/waker.hpp"
#include "event/batch.hpp"

namespace ephor::host {

class Reader;

struct BusOptions {
  std::size_t slots = 8192;             // a power of two >= 2
  std::size_t bytes_max = 64ULL << 20;  // of Batch::size_bytes()
  // Batches that every reader has read are retired early, but for so many of the newest. While a
  // lossless reader is on the journal all are kept, so that it can come back.
  std::size_t history_batches = 16;
  std::uint64_t last_position = 0;  // the log's at the start; what is up to it is not in the ring
  // Gets every batch that nobody uses any more, on the publisher's thread; empty: it is deleted.
  std::function<void(BatchPointer)> recycle = {};
};

struct BusStats {
  std::uint64_t events = 0;   // published
  std::uint64_t batches = 0;  // published
  std::uint64_t batches_live = 0;
  std::uint64_t bytes_live = 0;  // in the ring
  std::uint64_t bytes_max = 0;
  std::uint64_t slots = 0;
  std::uint64_t retired_pending = 0;  // batches out of the ring that a reader still uses
};

class Bus {
 public:
  // Throws std::invalid_argument on options out of range.
  explicit Bus(BusOptions options = {});
  ~Bus();  // every reader and waker is gone before
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  // One thread at a time. `batch->position` is greater than that of the batch before, the events'
  // sequences are filled in; `published_ns` is set here. Never blocks on a reader. The newest batch
  // always stays in the ring, so the bounds may be exceeded by this one.
  void publish(BatchPointer batch);

  // [any] Of the newest batch, or BusOptions::last_position.
  std::uint64_t head_position() const { return head_position_.load(std::memory_order_acquire); }
  // [any] Where a reader that wants only what comes from now on starts.
  std::uint64_t next_sequence() const { return sequence_of(head_position() + 1, 0); }

  // [any] Waits until every reader that loses nothing by falling behind (replay, latest) has
  // handled `position` (published or to come); false at the time-out. Callers queue: one waits at a
  // time.
  bool wait_until_read(std::uint64_t position, std::int64_t timeout_ns = kWaitForever);

  WakerGroup& wakers() { return wakers_; }
  BusStats stats() const;  // [any]

 private:
  friend class Reader;

  // All atomic, because a reader may look at a slot while it is overwritten; it then backs off.
  struct Slot {
    std::atomic<Batch*> batch{nullptr};
    std::atomic<std::uint64_t> position{0};
    std::atomic<std::uint64_t> events_before{0};  // published before this batch
    std::atomic<std::uint64_t> events_after{0};
    std::atomic<std::int64_t> published_ns{0};
  };
  struct Retired {
    std::uint64_t index;
    BatchPointer batch;
  };
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };
  static constexpr std::uint64_t kNobodyWaits = UINT64_MAX;

  Slot& slot(std::uint64_t index) { return slots_[index & mask_]; }
  const Slot& slot(std::uint64_t index) const { return slots_[index & mask_]; }
  // [any] When the batch at `index`, or the oldest that is left, was published; 0: none is.
  std::int64_t published_at(std::uint64_t index) const;
  void add(Reader* reader);
  void remove(Reader* reader);
  std::uint64_t index_read_by_all();
  std::uint64_t index_within_bounds() const;
  void retire_until(std::uint64_t index);
  void collect();
  void free_batch(BatchPointer batch);
  bool is_read_by_all(std::uint64_t position);
  // Called by a reader whose next position went from `before` to `after`.
  void notify_if_awaited(std::uint64_t before, std::uint64_t after) {
    const std::uint64_t awaited = awaited_position_.load(std::memory_order_seq_cst);
    if (before <= awaited && awaited < after) notify_waiter();
  }
  void notify_waiter();

  BusOptions options_;
  std::uint64_t mask_;
  std::uint64_t stride_;           // how far below a bound the tail goes, so that it moves rarely
  const std::int64_t started_ns_;  // monotonic clock
  std::unique_ptr<Slot[]> slots_;

  // Written by the publisher, read by everyone: together, so that a reader fetches one line.
  alignas(128) std::atomic<std::uint64_t> head_{0};  // ring index of the next batch
  std::atomic<std::uint64_t> tail_{0};               // ring index of the oldest live batch
  std::atomic<std::uint64_t> events_{0};
  std::atomic<std::uint64_t> head_position_;
  std::atomic<std::uint64_t> retired_position_;  // of the newest batch out of the ring

  // The publisher's own.
  alignas(128) std::uint64_t since_trim_batches_ = 0;
  std::uint64_t since_trim_bytes_ = 0;
  std::unique_ptr<std::size_t[]> slot_bytes_;
  std::vector<Retired> retired_;
  std::vector<Range> announced_;
  std::atomic<std::uint64_t> bytes_live_{0};
  std::atomic<std::uint64_t> retired_pending_{0};

  std::mutex readers_mutex_;  // guards readers_
  std::vector<Reader*> readers_;

  std::mutex waiter_mutex_;  // held by the one in wait_until_read
  alignas(64) std::atomic<std::uint64_t> awaited_position_{kNobodyWaits};
  std::atomic<std::uint32_t> waiter_word_{0};

  WakerGroup wakers_;
};

}  // namespace ephor::host
