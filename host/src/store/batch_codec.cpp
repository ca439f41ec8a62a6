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
#include <string_view>
#include <unordered_map>
#include <vector>

#include "event/error.hpp"
#include "store/byte_sections.hpp"
#include "store/span_batch.hpp"

namespace ephor::host {
namespace {

static_assert(std::endian::native == std::endian::little, "ids are stored little endian");
static_assert(sizeof(Hash128) == 16);

constexpr int kLevel = 1;
constexpr std::size_t kVarintBytesMax = 10;
// varint length (u32) + encoding + flags + varint time + varint source (u32)
constexpr std::uint64_t kHeaderBytesPerRecordMax = 5 + 2 + kVarintBytesMax + 5;
// A source's text and its length.
constexpr std::uint64_t kSourceBytesMax = (64U << 10U) + 5;

// Numbers of one byte may become eight, and forms and columns come on top. (The frame's own blocks
// are the closer bound.)
constexpr std::uint64_t kSpanGrowthMax = 8;
constexpr std::uint64_t kSpanHeadBytesMax = 4U << 20U;

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
    return packed(checked(ZSTD_compress2(context_.get(), out, bound, plain_.data(), plain_size)));
  }

  // One frame, in which each part begins blocks of its own.
  std::string compress(std::initializer_list<std::string_view> parts) {
    std::size_t plain_size = 0;
    for (const std::string_view part : parts) plain_size += part.size();
    constexpr std::size_t kBlockBytes = 64;  // what a block more may take
    ZSTD_outBuffer out{nullptr, ZSTD_compressBound(plain_size) + kBlockBytes * parts.size(), 0};
    out.dst = packed_.reserve(out.size);
    checked(ZSTD_CCtx_reset(context_.get(), ZSTD_reset_session_only));
    checked(ZSTD_CCtx_setPledgedSrcSize(context_.get(), plain_size));
    for (const std::string_view& part : parts) {
      ZSTD_inBuffer in{part.data(), part.size(), 0};
      const bool is_last = &part == parts.end() - 1;
      if (checked(ZSTD_compressStream2(context_.get(), &out, &in,
                                       is_last ? ZSTD_e_end : ZSTD_e_flush)) != 0) {
        throw HostError(EPHOR_INTERNAL, "journal: zstd: a frame above its bound");
      }
    }
    return packed(out.pos);
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

  static std::size_t checked(std::size_t result) {
    if (ZSTD_isError(result) == 0) return result;
    throw HostError(EPHOR_INTERNAL, std::string("journal: zstd: ") + ZSTD_getErrorName(result));
  }
  std::string packed(std::size_t size) {
    std::string out(packed_.data(), size);
    plain_.shrink();
    packed_.shrink();
    return out;
  }

  std::unique_ptr<ZSTD_CCtx, ContextDeleter> context_;
  Scratch plain_;
  Scratch packed_;
};

// Where the sources of a batch's OTLP events stand among those that it stores.
class SourceTable {
 public:
  explicit SourceTable(const Batch& batch) {
    if (batch.sources.empty()) return;
    std::unordered_map<std::uint32_t, std::string_view> known;
    for (const BatchSource& source : batch.sources) known.emplace(source.number, source.text);
    for (const ephor_event& event : batch.events) {
      if (event.encoding != EPHOR_ENCODING_OTLP || index_of(event.source) != 0) continue;
      const auto found = known.find(event.source);
      if (found == known.end()) continue;
      if (found->second.size() + 5 > kSourceBytesMax) {
        throw HostError(EPHOR_INVALID,
                        "journal: a source of " + std::to_string(found->second.size()) +
                            " bytes, expected at most " + std::to_string(kSourceBytesMax - 5));
      }
      texts_.push_back(found->second);
      last_number_ = event.source;
      last_index_ = static_cast<std::uint32_t>(texts_.size());
      indices_.emplace(last_number_, last_index_);
    }
  }

  // From 1; 0: not among them.
  std::uint32_t index_of(std::uint32_t number) {
    if (number != last_number_ || last_index_ == 0) {
      const auto found = indices_.find(number);
      if (found == indices_.end()) return 0;
      last_number_ = number;
      last_index_ = found->second;
    }
    return last_index_;
  }
  const std::vector<std::string_view>& texts() const { return texts_; }

 private:
  std::vector<std::string_view> texts_;
  std::unordered_map<std::uint32_t, std::uint32_t> indices_;
  std::uint32_t last_number_ = 0;
  std::uint32_t last_index_ = 0;
};

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

void read_source_sizes(ByteReader& reader, std::uint64_t count, std::vector<std::uint64_t>& sizes,
                       std::uint64_t& total) {
  const std::uint64_t sources = reader.varint();
  if (sources > count) {
    throw std::runtime_error(std::to_string(sources) + " sources of " + std::to_string(count) +
                             " records");
  }
  sizes.resize(sources);
  for (std::uint64_t& size : sizes) {
    size = reader.varint();
    if (size > kSourceBytesMax) {
      throw std::runtime_error("a source of " + std::to_string(size) + " bytes");
    }
    total += size;
  }
}

void encode_columns(const Batch& batch, Compressor& compressor, EncodedBatch& encoded) {
  SourceTable sources(batch);
  std::vector<std::uint32_t> source_of;
  source_of.reserve(batch.events.size());
  for (const ephor_event& event : batch.events) {
    const bool is_span = event.encoding == EPHOR_ENCODING_OTLP;
    source_of.push_back(is_span ? sources.index_of(event.source) : 0);
  }
  // Kept between batches, as the compressor's buffers are.
  thread_local SectionWriter parts;
  for (std::string* part : {&parts.head, &parts.numbers, &parts.texts, &parts.random}) {
    constexpr std::size_t kKeepBytesMax = 1U << 20U;
    if (part->capacity() > kKeepBytesMax) *part = {};
    part->clear();
  }
  encode_spans(batch, source_of, sources.texts(), encoded.record_bytes, parts, encoded.ids);
  std::string top;
  for (const std::uint64_t size :
       {std::uint64_t{encoded.count}, encoded.record_bytes, std::uint64_t{parts.head.size()},
        std::uint64_t{parts.numbers.size()}, std::uint64_t{parts.texts.size()}}) {
    append_varint(top, size);
  }
  parts.head.insert(0, top);
  encoded.body = compressor.compress({parts.head, parts.numbers, parts.texts, parts.random});
}

// Of codecs 1 and 2.
void decode_in_order(bool has_sources, std::uint64_t count, StoredBatch& batch) {
  ByteReader reader(batch.bytes.view(), "the header ends");
  if (const std::uint64_t found = reader.varint(); found != count) {
    throw std::runtime_error(std::to_string(found) + " records, expected " + std::to_string(count));
  }
  std::vector<std::uint64_t> source_sizes;
  std::uint64_t source_bytes = 0;
  if (has_sources) read_source_sizes(reader, count, source_sizes, source_bytes);
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
    record.source = 0;
    if (!has_sources || record.encoding != EPHOR_ENCODING_OTLP) continue;
    const std::uint64_t source = reader.varint();
    if (source > source_sizes.size()) {
      throw std::runtime_error("source " + std::to_string(source) + " of " +
                               std::to_string(source_sizes.size()));
    }
    record.source = static_cast<std::uint32_t>(source);
  }
  if (reader.offset() + source_bytes + total != batch.bytes.size()) {
    throw std::runtime_error(std::to_string(batch.bytes.size() - reader.offset()) +
                             " bytes of records, expected " + std::to_string(source_bytes + total));
  }
  batch.sources.clear();
  std::uint64_t at = reader.offset();
  for (const std::uint64_t size : source_sizes) {
    batch.sources.emplace_back(batch.bytes.data() + at, size);
    at += size;
  }
  for (StoredRecord& record : batch.records) record.offset += at;
  batch.stored_ids.resize(count);
}

void check_id_bytes(std::string_view ids, std::uint64_t count) {
  // Not count * 16, which wraps around for a count that is damaged.
  if (ids.size() % sizeof(Hash128) == 0 && ids.size() / sizeof(Hash128) == count) return;
  throw std::runtime_error(std::to_string(ids.size()) + " bytes of ids, expected " +
                           std::to_string(sizeof(Hash128)) + " for each of " +
                           std::to_string(count) + " events");
}

// What an undamaged body of this row unpacks to at most. Throws for a row that cannot be.
std::uint64_t plain_bytes_max(std::uint32_t codec, std::uint64_t count,
                              std::uint64_t record_bytes) {
  if (codec < kCodecZstd1 || codec > kCodecSpans) {
    throw std::runtime_error("codec " + std::to_string(codec) + ", expected " +
                             std::to_string(kCodecZstd1) + " to " + std::to_string(kCodecSpans));
  }
  if (count == 0 || count > kBatchEventsMax) {
    throw std::runtime_error("a count of " + std::to_string(count) + " events");
  }
  constexpr std::uint64_t kRecordBytesMax =
      std::uint64_t{kBatchEventsMax} * std::numeric_limits<std::uint32_t>::max();
  if (record_bytes > kRecordBytesMax) {
    throw std::runtime_error("a size of " + std::to_string(record_bytes) + " bytes");
  }
  const std::uint64_t most =
      record_bytes + 2 * kVarintBytesMax +
      count * (kHeaderBytesPerRecordMax + (codec != kCodecZstd1 ? kSourceBytesMax : 0));
  return codec == kCodecSpans ? most * kSpanGrowthMax + kSpanHeadBytesMax : most;
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
  encoded.count = static_cast<std::uint32_t>(batch.events.size());
  encoded.time_min_ns = std::numeric_limits<std::int64_t>::max();
  encoded.time_max_ns = std::numeric_limits<std::int64_t>::min();
  bool has_spans = false;
  for (const ephor_event& event : batch.events) {
    encoded.record_bytes += event.record_length;
    encoded.time_min_ns = std::min(encoded.time_min_ns, event.time_ns);
    encoded.time_max_ns = std::max(encoded.time_max_ns, event.time_ns);
    has_spans = has_spans || event.encoding == EPHOR_ENCODING_OTLP;
  }
  thread_local Compressor compressor;
  if (has_spans) {
    encoded.codec = kCodecSpans;
    encode_columns(batch, compressor, encoded);
    return encoded;
  }
  encoded.codec = kCodecZstd1;
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
  if (codec != kCodecSpans) {
    decompress(body, plain_bytes_max(codec, count, record_bytes), batch.bytes);
    return decode_in_order(codec == kCodecZstdSources, count, batch);
  }
  Buffer plain;
  decompress(body, plain_bytes_max(codec, count, record_bytes), plain);
  decode_spans(plain.view(), count, record_bytes, batch);
}

std::vector<Hash128> decode_ids(std::uint32_t codec, std::string_view ids, std::string_view body,
                                std::uint64_t count, std::uint64_t record_bytes) {
  if (codec == kCodecSpans) {
    Buffer plain;
    decompress(body, plain_bytes_max(codec, count, record_bytes), plain);
    return decode_span_ids(plain.view(), count, record_bytes, ids);
  }
  check_id_bytes(ids, count);
  std::vector<Hash128> decoded(count);
  if (count != 0) std::memcpy(decoded.data(), ids.data(), ids.size());
  return decoded;
}

void read_stored_ids(std::string_view ids, StoredBatch& batch) {
  check_id_bytes(ids, batch.stored_ids.size());
  if (!ids.empty()) std::memcpy(batch.stored_ids.data(), ids.data(), ids.size());
}

}  // namespace ephor::host
