// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "bus/reader.hpp"

namespace ephor::testing {

// `count` events with records of 16 bytes; time_ns is the event's number in the log, from
// `first_number` on, and so is what stands in its record: a freed record shows under asan, a reused
// one as a wrong number.
inline host::BatchPointer make_batch(std::uint64_t position, std::uint32_t count,
                                     std::int64_t first_number, std::uint16_t topic = 1) {
  auto batch = std::make_unique<host::Batch>();
  batch->position = position;
  batch->buffers.emplace_back(count * 16ULL);
  char* record = batch->buffers[0].data();
  for (std::uint32_t i = 0; i < count; ++i, record += 16) {
    ephor_event event{};
    event.sequence = host::sequence_of(position, i);
    event.time_ns = first_number + i;
    event.topic = topic;
    event.record = record;
    event.record_length = 16;
    std::memcpy(record, &event.time_ns, sizeof(event.time_ns));
    batch->events.push_back(event);
  }
  return batch;
}

// Takes slices and notes whether event numbers come without gap, twice or out of order.
struct Checker {
  std::int64_t next = 0;
  std::uint64_t seen = 0;
  std::uint64_t wrong = 0;
  std::uint32_t slice_max = 0;

  void operator()(const ephor_event* events, std::uint32_t count) {
    slice_max = std::max(slice_max, count);
    for (std::uint32_t i = 0; i < count; ++i) {
      std::int64_t written;
      std::memcpy(&written, events[i].record, sizeof(written));
      if (events[i].time_ns != next || written != next) ++wrong;
      next = events[i].time_ns + 1;
      ++seen;
    }
  }
};

}  // namespace ephor::testing
