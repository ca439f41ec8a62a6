// SPDX-License-Identifier: Apache-2.0
//
// A batch with OTLP spans taken apart, column by column (codec 3). A span is its form
// (span_form.hpp) and its values; those of one meaning lie together (value_column.hpp), where they
// are nearly the same and compress to a tenth. What has no form, and what is no span, lies there
// whole.
//
//   varint count | varint sum of the records' lengths
//   varint size of `head` | varint size of `numbers` | varint size of `texts`
//   `head` | `numbers` | `texts` | `random`, the four sections
// A column of n is n numbers or texts as value_column.hpp says. In `head`, and what goes with it in
// the other sections, stand in this order:
//   varint count of sources | a column of their texts
//   columns of all records: encoding, flags, time
//   of all OTLP records: a column of the index of the source + 1, 0 for none
//   varint count of columns C | C times u8: kind, 16 added if its values are one for each trace
//   varint count of forms | each: varint size | the form
//   of all OTLP records: a column of the form + 1, 0 for one that lies whole
//   of all that lie whole: a column of lengths | `texts`: their bytes
//   of all spans with a trace step: varint count of traces, a column of trace numbers | `random`:
//   16
//     bytes each trace, then 8 bytes for each span step
//   varint count of spans whose id is stored though it could be made | their indices as a column
//   of all start steps: a column of durations
//   of all parent steps: a column of 0, or which span of its trace in this batch it is, from 1 |
//     `random`: for each 0 8 bytes
//   for each of the C columns: varint count | the column. With 16 added, only a trace's first value
//     stands there: the further ones are the same.
// Of a span with trace and span step and a source the id is made, not stored (otlp_identity.hpp);
// `ids` holds the others, in order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/byte_sections.hpp"
#include "store/journal.hpp"

namespace ephor::host {

// `source_of`: by event, from 1, 0: none. `ids` receives the ids that reading could not make.
// O(bytes of the records).
void encode_spans(const Batch& batch, std::span<const std::uint32_t> source_of,
                  std::span<const std::string_view> sources, std::uint64_t record_bytes,
                  SectionWriter& out, std::string& ids);

// Throw std::runtime_error on any damage. Memory: `record_bytes` and a multiple of `plain`.
void decode_spans(std::string_view plain, std::uint64_t count, std::uint64_t record_bytes,
                  StoredBatch& batch);
// The ids of all records, in order; a third of the cost of decoding them.
std::vector<Hash128> decode_span_ids(std::string_view plain, std::uint64_t count,
                                     std::uint64_t record_bytes, std::string_view ids);

}  // namespace ephor::host
