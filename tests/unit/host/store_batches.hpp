// SPDX-License-Identifier: Apache-2.0
//
// Batches for the journal's tests: records "{"n":<number>}" and such, known in advance.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "store/journal.hpp"

namespace ephor::testing {

struct RecordSpec {
  std::string text;
  std::int64_t time_ns = 0;
  std::uint8_t encoding = EPHOR_ENCODING_JSON;
  std::uint8_t flags = 0;
};

// Records lie in one buffer, separated by '\n' unless `separator` says otherwise.
inline host::Batch make_batch(const std::vector<RecordSpec>& records,
                              std::vector<std::uint64_t> join_keys = {},
                              std::string_view separator = "\n") {
  host::Batch batch;
  batch.arrived_ns = 1'700'000'000'000'000'000;
  std::size_t size = 0;
  for (const RecordSpec& record : records) size += record.text.size() + separator.size();
  host::Buffer buffer(size);
  buffer.set_size(size);
  char* at = buffer.data();
  for (const RecordSpec& record : records) {
    ephor_event event{};
    event.record = at;
    event.record_length = static_cast<std::uint32_t>(record.text.size());
    event.time_ns = record.time_ns;
    event.encoding = record.encoding;
    event.flags = record.flags;
    batch.events.push_back(event);
    batch.ids.push_back(host::hash128(record.text));
    if (!record.text.empty()) std::memcpy(at, record.text.data(), record.text.size());
    at += record.text.size();
    if (!separator.empty()) std::memcpy(at, separator.data(), separator.size());
    at += separator.size();
  }
  batch.buffers.push_back(std::move(buffer));
  batch.join_keys = std::move(join_keys);
  return batch;
}

inline std::string numbered_record(std::uint64_t number) {
  return "{\"specversion\":\"1.0\",\"id\":\"" + std::to_string(number) + "\"}";
}

// `count` records numbered from `first`, a microsecond apart.
inline host::Batch numbered_batch(std::uint64_t first, std::size_t count,
                                  std::vector<std::uint64_t> join_keys = {}) {
  std::vector<RecordSpec> records;
  for (std::size_t i = 0; i < count; ++i) {
    records.push_back({numbered_record(first + i), static_cast<std::int64_t>((first + i) * 1'000)});
  }
  return make_batch(records, std::move(join_keys));
}

inline void append(host::Journal& journal, host::Batch& batch) {
  std::vector<host::Pending> group(1);
  group[0] = {&batch, journal.encode(batch)};
  journal.append(group);
}

}  // namespace ephor::testing
