// SPDX-License-Identifier: Apache-2.0
#include "store/batch_codec.hpp"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "event/error.hpp"

namespace ephor::host {
namespace {

static_assert(std::endian::native == std::endian::little, "ids are stored little endian");
static_assert(sizeof(Hash128) == 16);

constexpr int kLevel = 1;
constexpr std::size_t kVarintBytesMax = 10;
// varint length (u32) + encoding + flags + varint time
constexpr std::uint64_t kHeaderBytesPerRecordMax = 5 + 2 + kVarintBytesMax;

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// A thread's compressor and its two buffers, kept between batches: setting up a context costs more
// than compressing a small batch.
class Compressor {
 public:
  Compressor() : context_(ZSTD_createCCtx()) {
    if (context_ == nullptr) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }

  char* plain(std::size_t capacity) { return plain_.reserve(capacity); }

  std::string compress(std::size_t plain_size) {
    const std::size_t bound = ZSTD_compressBound(plain_size);
    char* out = packed_.reserve(bound);
    const std::size_t size = ZSTD_compress2(context_.get(), out, bound, plain_.data(), plain_size);
    if (ZSTD_isError(size) != 0) {
      throw HostError(EPHOR_INTERNAL, std::string("journal: zstd: ") + ZSTD_getErrorName(size));
    }
    std::string packed(out, size);
    plain_.shrink();
    packed_.shrink();
    return packed;
  }

 private:
  // Grows without initialising; gives back what one huge batch took.
  class Scratch {
   public:
    char* data() { return data_.get(); }
    char* reserve(std::size_t capacity) {
      if (capacity > capacity_) {
        data_.reset(new char[capacity]);
        capacity_ = capacity;
      }
      return data_.get();
    }
    void shrink() {
      if (capacity_ <= kKeepBytesMax) return;
      data_.reset();
      capacity_ = 0;
    }

   private:
    static constexpr std::size_t kKeepBytesMax = 4U << 20U;
    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
  };

  std::unique_ptr<ZSTD_CCtx, ContextDeleter> context_;
  Scratch plain_;
  Scratch packed_;
};

char* put_varint(char* out, std::uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>((value & 0x7F) | 0x80);
    value >>= 7U;
  }
  *out++ = static_cast<char>(value);
  return out;
}

// Differences wrap around: any two times can follow each other.
std::uint64_t zigzag(std::uint64_t difference) {
  return (difference << 1U) ^ (0 - (difference >> 63U));
}
std::uint64_t unzigzag(std::uint64_t coded) { return (coded >> 1U) ^ (0 - (coded & 1U)); }

char* put_header(char* out, const Batch& batch) {
  out = put_varint(out, batch.events.size());
  std::uint64_t previous = 0;
  for (const ephor_event& event : batch.events) {
    const auto time = static_cast<std::uint64_t>(event.time_ns);
    out = put_varint(out, event.record_length);
    *out++ = static_cast<char>(event.encoding);
    *out++ = static_cast<char>(event.flags);
    out = put_varint(out, zigzag(time - previous));
    previous = time;
  }
  return out;
}

// One memcpy per run of records that touch each other.
char* put_records(char* out, const Batch& batch) {
  const char* run = nullptr;
  std::size_t run_size = 0;
  const auto flush = [&] {
    if (run_size != 0) std::memcpy(out, run, run_size);
    out += run_size;
  };
  for (const ephor_event& event : batch.events) {
    if (run != nullptr && run + run_size == event.record) {
      run_size += event.record_length;
      continue;
    }
    flush();
    run = event.record;
    run_size = event.record_length;
  }
  flush();
  return out;
}

class Reader {
 public:
  Reader(const char* data, std::size_t size) : data_(data), size_(size) {}

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint64_t byte = u8();
      value |= (byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    throw std::runtime_error("a varint longer than 64 bits at byte " + std::to_string(at_));
  }
  std::uint8_t u8() {
    if (at_ >= size_) throw std::runtime_error("the header ends in the middle of a record");
    return static_cast<std::uint8_t>(data_[at_++]);
  }
  std::uint64_t offset() const { return at_; }

 private:
  const char* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

// The most that the blocks of a frame can hold (RFC 8878, section 3.1.1): what its header claims is
// not believed beyond that, so that damage cannot ask for any amount of memory.
std::uint64_t content_bytes_max(std::string_view frame) {
  constexpr std::size_t kDescriptorOffset = 4;  // behind the magic number
  constexpr std::size_t kDictionaryIdBytes[] = {0, 1, 2, 4};
  constexpr std::size_t kContentSizeBytes[] = {0, 2, 4, 8};
  constexpr std::size_t kBlockHeaderBytes = 3;
  constexpr std::uint64_t kBlockContentBytesMax = 128U << 10U;
  const auto byte = [&](std::size_t at) {
    return std::uint32_t{static_cast<std::uint8_t>(frame[at])};
  };
  if (frame.size() <= kDescriptorOffset) return 0;
  const std::uint32_t descriptor = byte(kDescriptorOffset);
  const bool is_single_segment = (descriptor & 0x20U) != 0;
  std::size_t at = kDescriptorOffset + 1 + kDictionaryIdBytes[descriptor & 3U];
  // A single segment has no window byte, and at least one byte of content size.
  at += std::max<std::size_t>(kContentSizeBytes[descriptor >> 6U], is_single_segment ? 1 : 0);
  at += is_single_segment ? 0 : 1;
  std::uint64_t total = 0;
  for (bool is_last = false; !is_last && at + kBlockHeaderBytes <= frame.size();) {
    const std::uint32_t header = byte(at) | byte(at + 1) << 8U | byte(at + 2) << 16U;
    is_last = (header & 1U) != 0;
    const bool is_compressed = (header & 4U) != 0;  // else as it is, or one byte repeated
    const bool is_repeated = (header & 6U) == 2U;
    total += is_compressed ? kBlockContentBytesMax : header >> 3U;
    at += kBlockHeaderBytes + (is_repeated ? 1 : header >> 3U);
  }
  return total;
}

void decompress(std::string_view body, std::uint64_t size_max, Buffer& bytes) {
  const unsigned long long size = ZSTD_getFrameContentSize(body.data(), body.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) {
    throw std::runtime_error("no zstd frame with a content size");
  }
  if (size > size_max) {
    throw std::runtime_error("its frame claims " + std::to_string(size) +
                             " bytes, expected at most " + std::to_string(size_max));
  }
  if (const std::uint64_t bound = content_bytes_max(body); size > bound) {
    throw std::runtime_error("its frame claims " + std::to_string(size) +
                             " bytes, but its blocks hold at most " + std::to_string(bound));
  }
  thread_local std::unique_ptr<ZSTD_DCtx, ContextDeleter> context(ZSTD_createDCtx());
  if (context == nullptr) throw std::bad_alloc();
  bytes = Buffer(size);
  const std::size_t got =
      ZSTD_decompressDCtx(context.get(), bytes.data(), size, body.data(), body.size());
  if (ZSTD_isError(got) != 0) throw std::runtime_error(ZSTD_getErrorName(got));
  if (got != size) throw std::runtime_error("its frame is shorter than it claims");
  bytes.set_size(size);
  std::memset(bytes.data() + size, 0, kRecordSlackBytes);
}

}  // namespace

EncodedBatch encode_batch(const Batch& batch) {
  if (batch.events.empty() || batch.events.size() > kBatchEventsMax) {
    throw HostError(EPHOR_INVALID, "journal: a batch of " + std::to_string(batch.events.size()) +
                                       " events, expected 1 to " + std::to_string(kBatchEventsMax));
  }
  if (batch.ids.size() != batch.events.size()) {
    throw HostError(EPHOR_INVALID, "journal: " + std::to_string(batch.ids.size()) + " ids for " +
                                       std::to_string(batch.events.size()) +
                                       " events, expected one each");
  }
  EncodedBatch encoded;
  encoded.codec = kCodecZstd1;
  encoded.count = static_cast<std::uint32_t>(batch.events.size());
  encoded.time_min_ns = std::numeric_limits<std::int64_t>::max();
  encoded.time_max_ns = std::numeric_limits<std::int64_t>::min();
  for (const ephor_event& event : batch.events) {
    encoded.record_bytes += event.record_length;
    encoded.time_min_ns = std::min(encoded.time_min_ns, event.time_ns);
    encoded.time_max_ns = std::max(encoded.time_max_ns, event.time_ns);
  }
  thread_local Compressor compressor;
  // Copying the records together and compressing in one call beats feeding the ranges to the
  // streaming interface, which copies into its window anyhow (store_bench measures both).
  char* const plain = compressor.plain(encoded.record_bytes + kVarintBytesMax +
                                       encoded.count * kHeaderBytesPerRecordMax);
  const char* const end = put_records(put_header(plain, batch), batch);
  encoded.body = compressor.compress(static_cast<std::size_t>(end - plain));
  encoded.ids.assign(reinterpret_cast<const char*>(batch.ids.data()),
                     batch.ids.size() * sizeof(Hash128));
  return encoded;
}

void decode_body(std::uint32_t codec, std::string_view body, std::uint64_t count,
                 std::uint64_t record_bytes, StoredBatch& batch) {
  if (codec != kCodecZstd1) {
    throw std::runtime_error("codec " + std::to_string(codec) + ", expected " +
                             std::to_string(kCodecZstd1));
  }
  if (count == 0 || count > kBatchEventsMax) {
    throw std::runtime_error("a count of " + std::to_string(count) + " events");
  }
  constexpr std::uint64_t kRecordBytesMax =
      std::uint64_t{kBatchEventsMax} * std::numeric_limits<std::uint32_t>::max();
  if (record_bytes > kRecordBytesMax) {
    throw std::runtime_error("a size of " + std::to_string(record_bytes) + " bytes");
  }
  decompress(body, record_bytes + kVarintBytesMax + count * kHeaderBytesPerRecordMax, batch.bytes);

  Reader reader(batch.bytes.data(), batch.bytes.size());
  if (const std::uint64_t found = reader.varint(); found != count) {
    throw std::runtime_error(std::to_string(found) + " records, expected " + std::to_string(count));
  }
  batch.records.resize(count);
  std::uint64_t time = 0;
  std::uint64_t total = 0;
  for (StoredRecord& record : batch.records) {
    const std::uint64_t length = reader.varint();
    if (length > std::numeric_limits<std::uint32_t>::max()) {
      throw std::runtime_error("a record of " + std::to_string(length) + " bytes");
    }
    record.length = static_cast<std::uint32_t>(length);
    record.encoding = reader.u8();
    record.flags = reader.u8();
    time += unzigzag(reader.varint());
    record.time_ns = static_cast<std::int64_t>(time);
    record.offset = total;
    total += length;
  }
  if (reader.offset() + total != batch.bytes.size()) {
    throw std::runtime_error(std::to_string(batch.bytes.size() - reader.offset()) +
                             " bytes of records, expected " + std::to_string(total));
  }
  for (StoredRecord& record : batch.records) record.offset += reader.offset();
}

std::vector<Hash128> decode_ids(std::string_view ids, std::uint64_t count) {
  // Not count * 16, which wraps around for a count that is damaged.
  if (ids.size() % sizeof(Hash128) != 0 || ids.size() / sizeof(Hash128) != count) {
    throw std::runtime_error(std::to_string(ids.size()) + " bytes of ids, expected " +
                             std::to_string(sizeof(Hash128)) + " for each of " +
                             std::to_string(count) + " events");
  }
  std::vector<Hash128> decoded(count);
  if (count != 0) std::memcpy(decoded.data(), ids.data(), ids.size());
  return decoded;
}

}  // namespace ephor::host
