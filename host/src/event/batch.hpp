// SPDX-License-Identifier: Apache-2.0
//
// A batch: events that arrived together, the bytes they live in, and what the journal must know of
// them. It is built once at the door (or read back from the journal), moved through the journal and
// onto the bus, and never copied. Event descriptors point into `buffers`.
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "event/hash.hpp"

namespace ephor::host {

// Readable bytes behind the last record of a buffer, promised by the ABI.
inline constexpr std::size_t kRecordSlackBytes = 64;
inline constexpr std::uint32_t kSequenceIndexBits = 16;
inline constexpr std::uint32_t kBatchEventsMax = 1U << kSequenceIndexBits;

constexpr std::uint64_t sequence_of(std::uint64_t position, std::uint32_t index) {
  return (position << kSequenceIndexBits) | index;
}
constexpr std::uint64_t position_of(std::uint64_t sequence) {
  return sequence >> kSequenceIndexBits;
}
constexpr std::uint32_t index_of(std::uint64_t sequence) {
  return static_cast<std::uint32_t>(sequence & (kBatchEventsMax - 1));
}

// Bytes with kRecordSlackBytes of readable slack behind `size`. Not initialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t capacity)
      : data_(new char[capacity + kRecordSlackBytes]), capacity_(capacity) {}

  char* data() { return data_.get(); }
  const char* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  void set_size(std::size_t size) { size_ = size; }
  std::string_view view() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

// The text behind a source number of a batch's OTLP events; it lives as long as the interner.
struct BatchSource {
  std::uint32_t number = 0;
  std::string_view text;
};

struct Batch {
  std::uint64_t position = 0;  // given by the journal; 0 = not yet
  std::int64_t arrived_ns = 0;
  std::int64_t published_ns = 0;  // monotonic clock; given by the bus
  std::vector<Buffer> buffers;
  std::vector<ephor_event> events;       // `sequence` is filled when the position is known
  std::vector<Hash128> ids;              // deduplication hash of each event
  std::vector<std::uint64_t> join_keys;  // distinct join_key() hashes of all events, sorted
  // Of the OTLP events, each once: their records do not name them, so the journal must.
  std::vector<BatchSource> sources;

  std::size_t size_bytes() const {
    std::size_t total = events.size() * sizeof(ephor_event);
    for (const Buffer& buffer : buffers) total += buffer.capacity();
    return total;
  }
};

using BatchPointer = std::unique_ptr<Batch>;

}  // namespace ephor::host
