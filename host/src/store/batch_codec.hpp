// SPDX-License-Identifier: Apache-2.0
//
// How a batch lies in the journal. Codec 1: one zstd frame (level 1, content size and checksum) of
//   varint count
//   per record: varint length | u8 encoding | u8 flags | zigzag varint of time_ns - the previous
//   one's the bytes of all records
// Codec 2, of a batch with OTLP events, whose records do not name their sources:
//   varint count | varint count of sources | per source: varint length
//   per record as codec 1, and of an OTLP record: varint index of its source + 1, 0 if it has none
//   the texts of all sources | the bytes of all records
// Codec 3, of a batch with OTLP events: one zstd frame as in codec 1 of what span_batch.hpp says,
// each of whose sections begins blocks of its own. What was compressed as codec 2 before is read,
// not written any more. Codecs 1 and 2 store the ids of all events, codec 3 those that it cannot
// make. Varints are LEB128. The format is stored, so a codec number never changes its meaning.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "store/journal.hpp"

namespace ephor::host {

inline constexpr std::uint32_t kCodecZstd1 = 1;
inline constexpr std::uint32_t kCodecZstdSources = 2;
inline constexpr std::uint32_t kCodecSpans = 3;

// Throws HostError EPHOR_INVALID for no events, more than kBatchEventsMax, or ids that do not
// match.
EncodedBatch encode_batch(const Batch& batch);

// Fills all of `batch` but position, arrived_ns and the stored ids, which it counts. Trusts
// nothing: any damage is a std::runtime_error that says what was found. `record_bytes` bounds the
// memory taken.
void decode_body(std::uint32_t codec, std::string_view body, std::uint64_t count,
                 std::uint64_t record_bytes, StoredBatch& batch);

// The ids of all events, in order; `ids` and the rest as they are stored. Errors as decode_body.
std::vector<Hash128> decode_ids(std::uint32_t codec, std::string_view ids, std::string_view body,
                                std::uint64_t count, std::uint64_t record_bytes);

// Fills batch.stored_ids, of which decode_body has set the count; throws std::runtime_error for
// another one.
void read_stored_ids(std::string_view ids, StoredBatch& batch);

}  // namespace ephor::host
