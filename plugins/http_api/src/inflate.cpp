// SPDX-License-Identifier: Apache-2.0
#include "inflate.hpp"

#include <isa-l/igzip_lib.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

namespace ephor::http_api {
namespace {

constexpr std::size_t kRoomMin = 64 * 1024;
constexpr int kWindowLogMax = 27;  // 128 MiB, what every zstd decoder must be able to read

// The size a first allocation should have: text shrinks 5 to 15 times.
std::size_t first_guess(std::size_t body_size, std::size_t size_max) {
  return std::min(size_max, std::max(kRoomMin, body_size * 12));
}

// Hands out the free part of a growing memory and counts what was used of it.
class Room {
 public:
  Room(GrowingMemory& memory, std::size_t first, std::size_t size_max)
      : memory_(memory), size_max_(size_max), whole_(memory.grow(0, first)) {}

  bool exists() const { return !whole_.empty(); }
  std::size_t size() const { return used_; }
  void use(std::size_t bytes) { used_ += bytes; }
  // Free bytes; empty when the cap is reached.
  std::span<char> free() {
    if (used_ == whole_.size() && used_ < size_max_) {
      const auto larger = memory_.grow(used_, std::min(size_max_, whole_.size() * 2));
      if (!larger.empty()) whole_ = larger;
    }
    const std::size_t end = std::min(whole_.size(), size_max_);
    return whole_.subspan(used_, end - used_);
  }

 private:
  GrowingMemory& memory_;
  std::size_t size_max_;
  std::span<char> whole_;
  std::size_t used_ = 0;
};

}  // namespace

Inflated inflate_gzip(std::string_view body, std::size_t size_max, GrowingMemory& memory,
                      std::size_t& size) {
  Room room(memory, first_guess(body.size(), size_max), size_max);
  if (!room.exists()) return Inflated::too_large;
  const auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = ISAL_GZIP;
  state->next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(body.data()));
  state->avail_in = static_cast<std::uint32_t>(body.size());
  char overflow = 0;  // one byte beyond the cap tells "ended exactly there" from "goes on"
  for (;;) {
    const std::span<char> free = room.free();
    const bool at_cap = free.empty();
    state->next_out = reinterpret_cast<std::uint8_t*>(at_cap ? &overflow : free.data());
    state->avail_out = at_cap ? 1 : static_cast<std::uint32_t>(free.size());
    const std::uint32_t before = state->avail_out;
    const int result = isal_inflate(state.get());
    const std::uint32_t made = before - state->avail_out;
    if (result < 0) return Inflated::corrupt;
    if (at_cap && made > 0) return Inflated::too_large;
    if (!at_cap) room.use(made);
    if (state->block_state == ISAL_BLOCK_FINISH) {
      if (state->avail_in == 0) break;
      isal_inflate_reset(state.get());  // a further member follows
      state->crc_flag = ISAL_GZIP;
      continue;
    }
    if (state->avail_in == 0 && state->avail_out > 0) return Inflated::truncated;
  }
  size = room.size();
  return Inflated::ok;
}

Inflated inflate_zstd(std::string_view body, std::size_t size_max, GrowingMemory& memory,
                      std::size_t& size) {
  Room room(memory, first_guess(body.size(), size_max), size_max);
  if (!room.exists()) return Inflated::too_large;
  const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                        &ZSTD_freeDCtx);
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLogMax);
  ZSTD_inBuffer in{body.data(), body.size(), 0};
  char overflow = 0;
  for (;;) {
    const std::span<char> free = room.free();
    const bool at_cap = free.empty();
    ZSTD_outBuffer out{at_cap ? &overflow : free.data(), at_cap ? 1 : free.size(), 0};
    const std::size_t result = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(result)) return Inflated::corrupt;
    if (at_cap && out.pos > 0) return Inflated::too_large;
    if (!at_cap) room.use(out.pos);
    if (result == 0 && in.pos == in.size) break;
    if (in.pos == in.size && out.pos < out.size) return Inflated::truncated;
  }
  size = room.size();
  return Inflated::ok;
}

std::string deflate_gzip(std::string_view body) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;
  if (deflateInit2(&stream, 1, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::string out(deflateBound(&stream, static_cast<uLong>(body.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return result == Z_STREAM_END ? out : std::string();
}

}  // namespace ephor::http_api
