// SPDX-License-Identifier: Apache-2.0
//
// The codec of batches with OTLP spans (codec 3). First byte even: what follows are records, each a
// length and that many bytes of any kind, or a sound span changed in a few places; they must come
// back byte for byte, and their ids with them. Odd: what follows is a body behind its checksum;
// what comes out is an error or a batch that lies in its buffer.
#include <zstd.h>

#include <exception>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "store/batch_codec.hpp"

namespace {

using namespace ephor::host;
using ephor::fuzz::Input;

constexpr std::string_view kSource =
    R"({"resource":{"service.name":"checkout"},"scope":{"name":""}})";

const std::string& sound_span() {
  static const std::string span = [] {
    std::string out = "\n\x10" + std::string(16, 't') + "\x12\x08" + std::string(8, 's') +
                      "\x22\x08" + std::string(8, 'p') + "*\x04step0\x02";
    out += '9' + std::string("\x01\0\0\0\0\0\0\0", 8) + 'A' + std::string("\x09\0\0\0\0\0\0\0", 8);
    out += "J\x0D\n\x04name\x12\x05\n\x03one";
    out += "J\x08\n\x02no\x12\x02\x18\x07";
    return out + "\x85\x01" + std::string("\x01\x01\0\0", 4);
  }();
  return span;
}

std::vector<std::string> records_of(Input& input) {
  std::vector<std::string> records;
  while (!input.is_used_up() && records.size() < 200) {
    const std::uint64_t kind = input.number(1);
    if (kind % 2 == 0) {
      records.emplace_back(input.text(input.number(1)));
      continue;
    }
    std::string span = sound_span();
    for (std::uint64_t changes = kind / 2 % 4; changes > 0; --changes) {
      span[input.number(1) % span.size()] = static_cast<char>(input.number(1));
    }
    records.push_back(span);
  }
  return records;
}

void check_round_trip(Input& input) {
  const std::vector<std::string> records = records_of(input);
  if (records.empty()) return;
  Batch batch;
  std::size_t size = 0;
  for (const std::string& record : records) size += record.size();
  Buffer buffer(size);
  buffer.set_size(size);
  char* at = buffer.data();
  for (std::size_t i = 0; i < records.size(); ++i) {
    ephor_event event{};
    event.record = at;
    event.record_length = static_cast<std::uint32_t>(records[i].size());
    event.time_ns = i % 3 == 0 ? 9 : static_cast<std::int64_t>(i) - 5;
    event.encoding = i % 5 == 4 ? EPHOR_ENCODING_JSON : EPHOR_ENCODING_OTLP;
    event.source = i % 7 == 6 ? 0 : 1;
    at = std::copy(records[i].begin(), records[i].end(), at);
    batch.events.push_back(event);
    batch.ids.push_back(hash128(records[i]));
  }
  batch.buffers.push_back(std::move(buffer));
  batch.sources.push_back({1, kSource});
  const EncodedBatch encoded = encode_batch(batch);
  EPHOR_PROMISE(encoded.codec == kCodecSpans, "spans are taken apart");
  StoredBatch stored;
  decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, stored);
  EPHOR_PROMISE(stored.records.size() == records.size(), "all records come back");
  for (std::size_t i = 0; i < records.size(); ++i) {
    EPHOR_PROMISE(stored.record(i) == records[i], "byte for byte");
    EPHOR_PROMISE(stored.records[i].time_ns == batch.events[i].time_ns, "with their times");
    EPHOR_PROMISE(stored.records[i].encoding == batch.events[i].encoding, "and encodings");
  }
  EPHOR_PROMISE(decode_ids(encoded.codec, encoded.ids, encoded.body, encoded.count,
                           encoded.record_bytes) == batch.ids,
                "and ids");
}

void check_body(Input& input) {
  const std::uint64_t count = input.number(1);
  const std::uint64_t record_bytes = input.number(2);
  const std::string_view plain = input.text(1U << 20U);
  std::string body(ZSTD_compressBound(plain.size()), '\0');
  body.resize(ZSTD_compress(body.data(), body.size(), plain.data(), plain.size(), 1));
  try {
    StoredBatch batch;
    decode_body(kCodecSpans, body, count, record_bytes, batch);
    std::uint64_t total = 0;
    for (const StoredRecord& record : batch.records) {
      EPHOR_PROMISE(record.offset <= batch.bytes.size() &&
                        record.length <= batch.bytes.size() - record.offset,
                    "a record lies in its batch");
      total += record.length;
    }
    EPHOR_PROMISE(total == record_bytes, "of so many bytes");
    const std::string ids(batch.stored_ids.size() * sizeof(Hash128), 'i');
    EPHOR_PROMISE(decode_ids(kCodecSpans, ids, body, count, record_bytes).size() == count,
                  "an id for each record");
  } catch (const std::runtime_error& error) {
    EPHOR_PROMISE(*error.what() != '\0', "an error has a reason");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  try {
    if (input.number(1) % 2 == 0) {
      check_round_trip(input);
    } else {
      check_body(input);
    }
  } catch (const std::exception& failure) {
    ephor::fuzz::broken(__FILE__, __LINE__, failure.what());
  }
  return 0;
}
