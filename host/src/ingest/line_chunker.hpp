// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "event/batch.hpp"
#include "ingest/fault.hpp"
#include "ingest/gunzip.hpp"

namespace ephor::host {

struct ChunkLimits {
  std::uint32_t lines_max = 0;            // 0: no limit
  std::size_t bytes_max = 1U << 20;       // of a chunk, unless one line is longer
  std::size_t line_bytes_max = 1U << 20;  // longer lines are rejected
};

// Whole lines of a file, ready for Door::admit.
struct LineChunk {
  Buffer body;
  std::uint32_t first_line = 1;
  std::uint32_t line_count = 0;       // newlines in it, and one for a last line without
  std::vector<Rejection> rejections;  // over-long lines that came before `first_line`
};

// Cuts a stream into chunks of whole lines. The same input and limits give the same chunks.
class LineChunker {
 public:
  // `reader` outlives it.
  LineChunker(GzipReader& reader, ChunkLimits limits) : reader_(reader), limits_(limits) {}

  // Empty at the end. Throws what the reader throws; lines before the fault are not lost if they
  // made a whole chunk.
  std::optional<LineChunk> next();

 private:
  bool fill(Buffer& body, std::size_t wanted);
  LineChunk cut(Buffer body, std::size_t end, std::uint32_t line_count);
  bool skip_long_line(Buffer& body);

  GzipReader& reader_;
  ChunkLimits limits_;
  Buffer carry_;
  std::uint32_t line_ = 1;  // of the first byte of what comes next
  bool is_at_end_ = false;
  std::vector<Rejection> rejections_;
};

}  // namespace ephor::host
