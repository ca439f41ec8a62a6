// SPDX-License-Identifier: Apache-2.0
#include "ingest/line_chunker.hpp"

#include <algorithm>
#include <cstring>

namespace ephor::host {
namespace {

constexpr std::size_t kStepBytes = 256 * 1024;

Buffer larger(const Buffer& body, std::size_t capacity) {
  Buffer out(capacity);
  if (body.size() != 0) std::memcpy(out.data(), body.data(), body.size());
  out.set_size(body.size());
  return out;
}

}  // namespace

// Adds up to `wanted` bytes. False if nothing came.
bool LineChunker::fill(Buffer& body, std::size_t wanted) {
  if (is_at_end_) return false;
  const std::size_t room = std::min(wanted, body.capacity() - body.size());
  const std::size_t count = reader_.read(body.data() + body.size(), room);
  body.set_size(body.size() + count);
  if (count < room) is_at_end_ = true;
  return count > 0;
}

// Gives out the first `end` bytes and carries the rest over.
LineChunk LineChunker::cut(Buffer body, std::size_t end, std::uint32_t line_count) {
  const std::size_t rest = body.size() - end;
  if (rest > 0) {
    carry_ = Buffer(rest);
    std::memcpy(carry_.data(), body.data() + end, rest);
    carry_.set_size(rest);
  } else {
    carry_ = Buffer();
  }
  body.set_size(end);
  LineChunk chunk;
  chunk.body = std::move(body);
  chunk.first_line = line_;
  chunk.line_count = line_count;
  chunk.rejections = std::move(rejections_);
  rejections_.clear();
  line_ += line_count;
  return chunk;
}

// `body` is full and holds no newline: drops the line. False if the input ended with it.
bool LineChunker::skip_long_line(Buffer& body) {
  std::uint64_t size = body.size();
  const auto reject = [&] {
    rejections_.push_back({line_, "",
                           "found a line of " + std::to_string(size) + " bytes, expected at most " +
                               std::to_string(limits_.line_bytes_max)});
    ++line_;
  };
  while (true) {
    body.set_size(0);
    if (!fill(body, kStepBytes)) {
      reject();
      return false;
    }
    const auto* newline = static_cast<const char*>(std::memchr(body.data(), '\n', body.size()));
    if (newline == nullptr) {
      size += body.size();
      continue;
    }
    const auto end = static_cast<std::size_t>(newline - body.data());
    size += end;
    reject();
    const std::size_t rest = body.size() - end - 1;
    std::memmove(body.data(), newline + 1, rest);
    body.set_size(rest);
    return true;
  }
}

std::optional<LineChunk> LineChunker::next() {
  Buffer body = larger(carry_, std::max(limits_.bytes_max, carry_.size()));
  std::size_t scanned = 0;
  std::size_t last_end = 0;  // one past the last newline seen
  std::uint32_t line_count = 0;
  while (true) {
    while (scanned < body.size()) {
      const auto* newline =
          static_cast<const char*>(std::memchr(body.data() + scanned, '\n', body.size() - scanned));
      if (newline == nullptr) break;
      last_end = scanned = static_cast<std::size_t>(newline - body.data()) + 1;
      if (++line_count == limits_.lines_max) return cut(std::move(body), last_end, line_count);
    }
    scanned = body.size();
    if (body.size() == body.capacity() && !is_at_end_) {
      if (last_end > 0) return cut(std::move(body), last_end, line_count);
      if (body.capacity() <= limits_.line_bytes_max) {
        body = larger(body, std::min(body.capacity() * 2, limits_.line_bytes_max + 1));
      } else {
        skip_long_line(body);
        scanned = 0;
      }
      continue;
    }
    if (fill(body, kStepBytes)) continue;
    if (body.size() == 0 && rejections_.empty()) return std::nullopt;
    if (body.size() > last_end) ++line_count;
    return cut(std::move(body), body.size(), line_count);
  }
}

}  // namespace ephor::host
