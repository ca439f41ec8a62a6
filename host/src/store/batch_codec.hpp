// SPDX-License-Identifier: Apache-2.0
//
// How a batch lies in the journal. Codec 1: one zstd frame (level 1, content size and checksum) of
//   varint count
//   per record: varint length | u8 encoding | u8 flags | zigzag varint of time_ns - the previous
//   one's the bytes of all records
// Varints are LEB128. The format is stored, so a codec number never changes its meaning.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "store/journal.hpp"

namespace ephor::host {

inline constexpr std::uint32_t kCodecZstd1 = 1;

// Throws HostError EPHOR_INVALID for no events, more than kBatchEventsMax, or ids that do not
// match.
EncodedBatch encode_batch(const Batch& batch);

// Fills batch.bytes and batch.records. Trusts nothing: any damage is a std::runtime_error that says
// what was found. `record_bytes` bounds the memory taken.
void decode_body(std::uint32_t codec, std::string_view body, std::uint64_t count,
                 std::uint64_t record_bytes, StoredBatch& batch);

std::vector<Hash128> decode_ids(std::string_view ids, std::uint64_t count);

}  // namespace ephor::host
