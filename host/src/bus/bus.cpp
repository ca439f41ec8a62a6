// SPDX-License-Identifier: Apache-2.0
#include "bus/bus.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <climits>
#include <stdexcept>
#include <string>
#include <utility>

#include "bus/reader.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

// How often the publisher looks whether everyone has read what the ring still holds. Rarely enough
// that fetching the readers' cache lines costs nothing, often enough that recycled buffers are
// warm.
constexpr std::uint64_t kTrimBatches = 64;
constexpr std::uint64_t kTrimBytes = 256 << 10;

}  // namespace

Bus::Bus(BusOptions options)
    : options_(std::move(options)),
      mask_(options_.slots - 1),
      stride_(std::max<std::uint64_t>(1, options_.slots / 64)),
      started_ns_(monotonic_ns()),
      head_position_(options_.last_position),
      retired_position_(options_.last_position) {
  if (options_.slots < 2 || !std::has_single_bit(options_.slots)) {
    throw std::invalid_argument("bus: slots is " + std::to_string(options_.slots) +
                                ", expected a power of two >= 2");
  }
  if (options_.bytes_max == 0) {
    throw std::invalid_argument("bus: bytes_max is 0, expected the ring's bound in bytes");
  }
  options_.history_batches = std::max<std::size_t>(1, options_.history_batches);
  slots_ = std::make_unique<Slot[]>(options_.slots);
  slot_bytes_ = std::make_unique<std::size_t[]>(options_.slots);
}

Bus::~Bus() {
  assert(readers_.empty());
  for (std::uint64_t index = tail_; index != head_; ++index) delete slot(index).batch.load();
}

void Bus::publish(BatchPointer batch) {
  assert(batch != nullptr && batch->position > head_position());
  const std::uint64_t index = head_.load(std::memory_order_relaxed);
  const std::uint64_t position = batch->position;
  const std::uint64_t events_before = events_.load(std::memory_order_relaxed);
  const std::uint64_t events_after = events_before + batch->events.size();
  const std::size_t bytes = batch->size_bytes();
  batch->published_ns = monotonic_ns();

  slot_bytes_[index & mask_] = bytes;
  bytes_live_.fetch_add(bytes, std::memory_order_relaxed);
  Slot& target = slot(index);
  target.position.store(position, std::memory_order_release);
  target.events_before.store(events_before, std::memory_order_release);
  target.events_after.store(events_after, std::memory_order_release);
  target.published_ns.store(batch->published_ns, std::memory_order_release);
  target.batch.store(batch.release(), std::memory_order_release);
  events_.store(events_after, std::memory_order_relaxed);
  head_position_.store(position, std::memory_order_release);
  head_.store(index + 1, std::memory_order_seq_cst);
  wakers_.wake_parked();

  std::uint64_t keep_from = index_within_bounds();
  since_trim_bytes_ += bytes;
  if (++since_trim_batches_ >= kTrimBatches || since_trim_bytes_ >= kTrimBytes) {
    since_trim_batches_ = 0;
    since_trim_bytes_ = 0;
    keep_from = std::max(keep_from, index_read_by_all());
    retire_until(keep_from);
    collect();
  } else if (keep_from != tail_.load(std::memory_order_relaxed)) {
    retire_until(keep_from);
    collect();
  }
}

// The tail that keeps the bounds; the newest batch stays in any case.
std::uint64_t Bus::index_within_bounds() const {
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  std::uint64_t keep_from = tail_.load(std::memory_order_relaxed);
  std::uint64_t bytes = bytes_live_.load(std::memory_order_relaxed);
  if (head - keep_from < options_.slots && bytes <= options_.bytes_max) return keep_from;

  const std::uint64_t bytes_wanted =
      bytes <= options_.bytes_max ? bytes : options_.bytes_max - options_.bytes_max / 64;
  const std::uint64_t slots_wanted =
      head - keep_from < options_.slots ? options_.slots : options_.slots - stride_;
  while (keep_from + 1 < head && (head - keep_from > slots_wanted || bytes > bytes_wanted)) {
    bytes -= slot_bytes_[keep_from & mask_];
    ++keep_from;
  }
  return keep_from;
}

// The tail that keeps what some reader still needs, and the history.
std::uint64_t Bus::index_read_by_all() {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  if (head - tail <= options_.history_batches) return tail;
  std::uint64_t keep_from = head - options_.history_batches;
  const std::lock_guard lock(readers_mutex_);
  for (const Reader* reader : readers_) {
    if (reader->is_detached()) continue;
    if (reader->is_behind_.load(std::memory_order_acquire)) return tail;
    keep_from = std::min(keep_from, reader->index_.load(std::memory_order_acquire));
  }
  return std::max(keep_from, tail);
}

void Bus::retire_until(std::uint64_t index) {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  if (index == tail) return;
  for (std::uint64_t gone = tail; gone != index; ++gone) {
    bytes_live_.fetch_sub(slot_bytes_[gone & mask_], std::memory_order_relaxed);
    retired_.push_back({gone, BatchPointer(slot(gone).batch.load(std::memory_order_relaxed))});
  }
  retired_position_.store(slot(index - 1).position.load(std::memory_order_relaxed),
                          std::memory_order_release);
  tail_.store(index, std::memory_order_seq_cst);
}

// Frees the retired batches that no reader announces.
void Bus::collect() {
  if (retired_.empty()) return;
  announced_.clear();
  {
    const std::lock_guard lock(readers_mutex_);
    for (const Reader* reader : readers_) announced_.push_back(reader->announced());
  }
  const auto in_use = [this](const Retired& retired) {
    return std::any_of(announced_.begin(), announced_.end(), [&](const Range& range) {
      return range.begin <= retired.index && retired.index < range.end;
    });
  };
  std::size_t kept = 0;
  for (Retired& retired : retired_) {
    if (in_use(retired)) {
      std::swap(retired_[kept++], retired);
    } else {
      free_batch(std::move(retired.batch));
    }
  }
  retired_.resize(kept);
  retired_pending_.store(kept, std::memory_order_relaxed);
}

void Bus::free_batch(BatchPointer batch) {
  if (options_.recycle) options_.recycle(std::move(batch));
}

bool Bus::wait_until_read(std::uint64_t position, std::int64_t timeout_ns) {
  if (is_read_by_all(position)) return true;
  const std::lock_guard lock(waiter_mutex_);
  const std::int64_t deadline_ns = timeout_ns < 0 ? INT64_MAX : monotonic_ns() + timeout_ns;
  awaited_position_.store(position, std::memory_order_seq_cst);
  bool is_read = false;
  for (;;) {
    // A reader stores its position and then looks at awaited_position_, all seq_cst: either it sees
    // that someone waits, or the look below sees its position.
    const std::uint32_t word = waiter_word_.load(std::memory_order_seq_cst);
    is_read = is_read_by_all(position);
    if (is_read) break;
    const std::int64_t left_ns = timeout_ns < 0 ? kWaitForever : deadline_ns - monotonic_ns();
    if (timeout_ns >= 0 && left_ns <= 0) break;
    futex_wait(waiter_word_, word, left_ns);
  }
  awaited_position_.store(kNobodyWaits, std::memory_order_seq_cst);
  return is_read;
}

bool Bus::is_read_by_all(std::uint64_t position) {
  const std::lock_guard lock(readers_mutex_);
  return std::all_of(readers_.begin(), readers_.end(), [position](const Reader* reader) {
    return reader->policy() == OverflowPolicy::drop_oldest ||
           reader->is_detached_.load(std::memory_order_seq_cst) ||
           position_of(reader->next_sequence_.load(std::memory_order_seq_cst)) > position;
  });
}

std::int64_t Bus::published_at(std::uint64_t index) const {
  for (;;) {
    const std::uint64_t at = std::max(index, tail_.load(std::memory_order_acquire));
    if (at >= head_.load(std::memory_order_acquire)) return 0;
    const std::int64_t published_ns = slot(at).published_ns.load(std::memory_order_acquire);
    // What was read from the slot counts only if it was not overwritten.
    if (tail_.load(std::memory_order_acquire) <= at) return published_ns;
  }
}

void Bus::notify_waiter() {
  waiter_word_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(waiter_word_, INT_MAX);
}

void Bus::add(Reader* reader) {
  const std::lock_guard lock(readers_mutex_);
  readers_.push_back(reader);
}

void Bus::remove(Reader* reader) {
  {
    const std::lock_guard lock(readers_mutex_);
    std::erase(readers_, reader);
  }
  notify_waiter();  // it may have been the one awaited
}

BusStats Bus::stats() const {
  BusStats stats;
  // The tail first: it never passes a head that is read later.
  const std::uint64_t tail = tail_.load(std::memory_order_acquire);
  stats.batches = head_.load(std::memory_order_acquire);
  stats.batches_live = stats.batches - tail;
  stats.events = events_.load(std::memory_order_relaxed);
  stats.bytes_max = options_.bytes_max;
  stats.slots = options_.slots;
  stats.bytes_live = bytes_live_.load(std::memory_order_relaxed);
  stats.retired_pending = retired_pending_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace ephor::host
