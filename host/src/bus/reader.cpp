// SPDX-License-Identifier: Apache-2.0
#include "bus/reader.hpp"

#include <algorithm>
#include <utility>

#include "event/times.hpp"

namespace ephor::host {
namespace {

constexpr unsigned kAnnouncedCountBits = 8;

// A leading run of so many matching events is worth a slice of its own, without a copy.
constexpr std::uint32_t kRunWorthSlice = 32;

// One writer: no need for a locked add.
void count(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

}  // namespace

// Ends the announcement however the slice ends.
class Reader::Announcement {
 public:
  explicit Announcement(Reader& reader) : reader_(reader) {}
  ~Announcement() {
    reader_.announce(0, 0, std::memory_order_release);
    if (!reader_.is_holding_) reader_.oldest_ns_.store(0, std::memory_order_relaxed);
  }
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

 private:
  Reader& reader_;
};

Reader::Reader(Bus& bus, ReaderOptions options)
    : bus_(bus),
      filter_(std::move(options.filter)),
      policy_(options.policy),
      scratch_(new ephor_event[kSliceEvents]) {
  is_behind_.store(true, std::memory_order_relaxed);
  if (options.next_sequence != kFromNow) {
    next_sequence_.store(options.next_sequence, std::memory_order_relaxed);
    unread_sequence_ = options.next_sequence;
    bus_.add(this);
    try_rejoin(options.next_sequence);
    return;
  }
  unread_sequence_ = bus_.next_sequence();
  next_sequence_.store(unread_sequence_, std::memory_order_relaxed);
  bus_.add(this);
  while (!try_rejoin(bus_.next_sequence())) {
  }
}

Reader::~Reader() { bus_.remove(this); }

void Reader::restart(TopicFilter filter, OverflowPolicy policy, std::uint64_t next_sequence,
                     std::uint64_t events_back) {
  filter_ = std::move(filter);
  policy_.store(policy, std::memory_order_relaxed);
  is_behind_.store(true, std::memory_order_release);
  read_ -= std::min(read_, events_back);
  read_published_.store(read_, std::memory_order_relaxed);
  is_holding_ = false;
  oldest_ns_.store(0, std::memory_order_relaxed);
  unread_sequence_ = next_sequence;
  next_sequence_.store(next_sequence, std::memory_order_seq_cst);
  is_detached_.store(false, std::memory_order_seq_cst);
  try_rejoin(next_sequence);
}

void Reader::detach() {
  is_detached_.store(true, std::memory_order_seq_cst);
  bus_.notify_waiter();
}

Reader::Result Reader::poll_with(SinkRef sink, std::uint32_t budget) {
  Result result;
  const std::uint64_t read_before = read_;
  while (result.events < budget && read_ - read_before < kReadEventsMax) {
    const Pin pinned = pin();
    if (pinned != Pin::pinned) {
      if (result.state == State::empty && pinned == Pin::behind) result.state = State::fell_behind;
      break;
    }
    const Announcement until_slice_is_handled(*this);
    result.state = State::delivered;
    result.events += deliver_next(sink);
  }
  return result;
}

Reader::Pin Reader::pin() {
  if (is_behind_.load(std::memory_order_relaxed)) return Pin::behind;
  for (;;) {
    if (cursor_ == head_seen_) head_seen_ = bus_.head_.load(std::memory_order_acquire);
    if (cursor_ == head_seen_) return Pin::empty;
    if (pin_from_cursor(head_seen_ - cursor_)) return Pin::pinned;
    if (policy() != OverflowPolicy::drop_oldest) {
      is_behind_.store(true, std::memory_order_release);
      return Pin::behind;
    }
    skip_to_oldest();
  }
}

// False if the batch at the cursor is retired. See bus.hpp for why this is safe.
bool Reader::pin_from_cursor(std::uint64_t available) {
  const std::uint64_t covered = std::min<std::uint64_t>(available, kGatherBatches);
  announce(cursor_, covered, std::memory_order_seq_cst);
  batches_[0] = bus_.slot(cursor_).batch.load(std::memory_order_acquire);
  if (bus_.tail_.load(std::memory_order_seq_cst) > cursor_) {
    announce(0, 0, std::memory_order_release);
    return false;
  }
  pinned_ = 1;
  if (covered > 1 && batches_[0]->events.size() < kGatherBelowEvents && resume_sequence_ == 0) {
    gather(covered);
  }
  if (pinned_ != covered) announce(cursor_, pinned_, std::memory_order_release);

  published_ns_ = batches_[0]->published_ns;
  set_oldest(published_ns_);
  const std::uint64_t lag = bus_.events_.load(std::memory_order_relaxed) - read_;
  if (lag > lag_max_.load(std::memory_order_relaxed)) {
    lag_max_.store(lag, std::memory_order_relaxed);
  }
  return true;
}

// Takes as many of the announced batches together as fit into one slice.
void Reader::gather(std::uint64_t covered) {
  for (std::uint64_t i = 1; i < covered; ++i) {
    batches_[i] = bus_.slot(cursor_ + i).batch.load(std::memory_order_acquire);
  }
  // The first batch is safe already; the others only if the tail has not moved meanwhile.
  if (bus_.tail_.load(std::memory_order_seq_cst) > cursor_) return;
  std::size_t total = batches_[0]->events.size() - offset_;
  while (pinned_ < covered) {
    total += batches_[pinned_]->events.size();
    if (total > kSliceEvents) break;
    ++pinned_;
  }
}

void Reader::skip_to_oldest() {
  std::uint64_t oldest;
  std::uint64_t events_before;
  do {
    oldest = bus_.tail_.load(std::memory_order_acquire);
    events_before = bus_.slot(oldest).events_before.load(std::memory_order_acquire);
  } while (bus_.tail_.load(std::memory_order_acquire) != oldest);
  count(skipped_, events_before - read_);
  read_ = events_before;
  read_published_.store(read_, std::memory_order_relaxed);
  cursor_ = oldest;
  offset_ = 0;
  head_seen_ = bus_.head_.load(std::memory_order_acquire);
  index_.store(cursor_, std::memory_order_release);
}

// One slice. The cursor moves before the sink is called, so that a sink that throws does not see
// its slice again; the position that others see moves after it.
std::uint32_t Reader::deliver_next(SinkRef sink) {
  return pinned_ == 1 ? deliver_from(*batches_[0], sink) : deliver_gathered(sink);
}

std::uint32_t Reader::deliver_from(const Batch& batch, SinkRef sink) {
  if (resume_sequence_ != 0) skip_what_was_read_elsewhere(batch);
  const ephor_event* events = batch.events.data();
  const auto size = static_cast<std::uint32_t>(batch.events.size());
  const std::uint32_t begin = offset_;
  std::uint32_t end = std::min(begin + kSliceEvents, size);
  const ephor_event* slice = events + begin;
  std::uint32_t slice_count = end - begin;
  if (!filter_.matches_all()) {
    std::uint32_t run = begin;
    while (run < end && filter_.matches(events[run].topic)) ++run;
    slice_count = run - begin;
    if (run < end && slice_count < kRunWorthSlice) {
      std::copy(slice, slice + slice_count, scratch_.get());
      slice = scratch_.get();
      const std::uint32_t scan_end = std::min(begin + kReadEventsMax, size);
      for (++run; run < scan_end && slice_count < kSliceEvents; ++run) {
        if (filter_.matches(events[run].topic)) scratch_[slice_count++] = events[run];
      }
    }
    end = run;
  }
  read_ += end - begin;
  offset_ = end == size ? 0 : end;
  cursor_ += end == size ? 1 : 0;
  const std::uint64_t next_sequence =
      end == size ? sequence_of(batch.position + 1, 0) : sequence_of(batch.position, end);
  if (slice_count != 0 && !is_holding_) {
    note_delay(monotonic_ns(), published_ns_, slice_count);
  }
  give(sink, slice, slice_count);
  advance_to(next_sequence);
  return slice_count;
}

std::uint32_t Reader::deliver_gathered(SinkRef sink) {
  std::uint32_t slice_count = 0;
  const std::uint64_t next_sequence = sequence_of(batches_[pinned_ - 1]->position + 1, 0);
  const std::int64_t now_ns = monotonic_ns();
  for (std::uint32_t i = 0; i < pinned_; ++i) {
    const std::vector<ephor_event>& events = batches_[i]->events;
    const std::uint32_t count_before = slice_count;
    for (std::size_t at = offset_; at < events.size(); ++at) {
      scratch_[slice_count] = events[at];  // without a branch: overwritten if it does not match
      slice_count += filter_.matches(events[at].topic) ? 1 : 0;
    }
    read_ += events.size() - offset_;
    offset_ = 0;
    if (slice_count != count_before && !is_holding_) {
      note_delay(now_ns, batches_[i]->published_ns, slice_count - count_before);
    }
  }
  cursor_ += pinned_;
  give(sink, scratch_.get(), slice_count);
  advance_to(next_sequence);
  return slice_count;
}

// A rejoin may lie ahead of the ring: the journal holds a batch before the ring does.
void Reader::skip_what_was_read_elsewhere(const Batch& batch) {
  const std::uint64_t resume_position = position_of(resume_sequence_);
  if (batch.position > resume_position) {
    resume_sequence_ = 0;
    return;
  }
  const auto size = static_cast<std::uint32_t>(batch.events.size());
  std::uint32_t read_to = size;
  if (batch.position == resume_position) {
    read_to = std::clamp(index_of(resume_sequence_), offset_, size);
    resume_sequence_ = 0;
  }
  read_ += read_to - offset_;
  offset_ = read_to;
}

void Reader::give(SinkRef sink, const ephor_event* events, std::uint32_t event_count) {
  if (event_count == 0) return;
  if (!is_holding_) count(delivered_, event_count);
  sink.call(sink.user, events, event_count);
}

void Reader::advance_to(std::uint64_t next_sequence) {
  unread_sequence_ = std::max(unread_sequence_, next_sequence);
  index_.store(cursor_, std::memory_order_release);
  if (!is_holding_) show_position();
}

void Reader::show_position() {
  const std::uint64_t before = next_sequence_.load(std::memory_order_relaxed);
  read_published_.store(read_, std::memory_order_relaxed);
  next_sequence_.store(unread_sequence_, std::memory_order_seq_cst);
  bus_.notify_if_awaited(position_of(before), position_of(unread_sequence_));
}

void Reader::hold() { is_holding_ = true; }

void Reader::release() {
  is_holding_ = false;
  if (!is_behind_.load(std::memory_order_relaxed)) oldest_ns_.store(0, std::memory_order_relaxed);
  show_position();
}

// While holding, the first of what is held back stays the oldest.
void Reader::set_oldest(std::int64_t published_ns) {
  if (is_holding_ && oldest_ns_.load(std::memory_order_relaxed) != 0) return;
  oldest_ns_.store(published_ns, std::memory_order_relaxed);
}

void Reader::note_stored_batch(std::int64_t published_ns) {
  published_ns_ = published_ns;
  set_oldest(published_ns);
}

void Reader::count_delivered(std::int64_t published_ns, std::uint32_t events) {
  count(delivered_, events);
  if (published_ns >= bus_.started_ns_) note_delay(monotonic_ns(), published_ns, events);
}

void Reader::note_delay(std::int64_t now_ns, std::int64_t published_ns, std::uint64_t events) {
  queue_delay_.record(now_ns - published_ns, events);
}

void Reader::read_elsewhere(std::uint64_t next_sequence, std::uint64_t events) {
  if (position_of(next_sequence) > bus_.options_.last_position + 1) {
    read_ = std::min(read_ + events, bus_.events_.load(std::memory_order_relaxed));
  }
  advance_to(next_sequence);
}

bool Reader::try_rejoin(std::uint64_t next_sequence) {
  const std::uint64_t position = position_of(next_sequence);
  std::uint64_t tail;
  std::uint64_t index;
  std::uint64_t events_before;
  bool is_held;
  do {
    tail = bus_.tail_.load(std::memory_order_acquire);
    const std::uint64_t head = bus_.head_.load(std::memory_order_acquire);
    std::uint64_t last = head;
    index = tail;
    while (index < last) {
      const std::uint64_t middle = index + (last - index) / 2;
      if (bus_.slot(middle).position.load(std::memory_order_acquire) < position) {
        index = middle + 1;
      } else {
        last = middle;
      }
    }
    events_before = index < head ? bus_.slot(index).events_before.load(std::memory_order_acquire)
                    : head == 0  ? 0
                                 : bus_.slot(head - 1).events_after.load(std::memory_order_acquire);
    is_held = index > tail || bus_.retired_position_.load(std::memory_order_acquire) < position;
    // What was read from the slots counts only if none of them was overwritten.
  } while (bus_.tail_.load(std::memory_order_acquire) != tail);
  if (!is_held) return false;

  cursor_ = index;
  offset_ = 0;
  head_seen_ = index;
  read_ = events_before;
  resume_sequence_ = next_sequence;
  advance_to(next_sequence);
  is_behind_.store(false, std::memory_order_release);
  if (!is_holding_) oldest_ns_.store(0, std::memory_order_relaxed);
  return true;
}

void Reader::announce(std::uint64_t index, std::uint64_t batch_count, std::memory_order order) {
  announced_.store(index << kAnnouncedCountBits | batch_count, order);
}

Bus::Range Reader::announced() const {
  const std::uint64_t announced = announced_.load(std::memory_order_seq_cst);
  const std::uint64_t begin = announced >> kAnnouncedCountBits;
  return {begin, begin + (announced & ((1U << kAnnouncedCountBits) - 1))};
}

ReaderStats Reader::stats() const {
  ReaderStats stats;
  stats.delivered = delivered_.load(std::memory_order_relaxed);
  stats.skipped = skipped_.load(std::memory_order_relaxed);
  stats.lag = lag();
  stats.lag_max = std::max(stats.lag, lag_max_.load(std::memory_order_relaxed));
  std::int64_t oldest_ns = oldest_ns_.load(std::memory_order_relaxed);
  if (oldest_ns == 0) oldest_ns = bus_.published_at(index_.load(std::memory_order_acquire));
  if (oldest_ns != 0) stats.lag_ns = std::max<std::int64_t>(0, monotonic_ns() - oldest_ns);
  return stats;
}

std::uint64_t Reader::lag() const {
  const std::uint64_t read = read_published_.load(std::memory_order_relaxed);
  const std::uint64_t published = bus_.events_.load(std::memory_order_relaxed);
  return published > read ? published - read : 0;
}

}  // namespace ephor::host
