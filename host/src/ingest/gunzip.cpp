// SPDX-License-Identifier: Apache-2.0
#include "ingest/gunzip.hpp"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <vector>

#include "event/error.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kInputBytes = 256 * 1024;

std::string_view isal_message(int code) {
  switch (code) {
    case ISAL_INVALID_BLOCK:
      return "an invalid deflate block";
    case ISAL_INVALID_SYMBOL:
      return "an invalid deflate symbol";
    case ISAL_INVALID_LOOKBACK:
      return "a reference before the start";
    case ISAL_INVALID_WRAPPER:
      return "an invalid gzip header";
    case ISAL_UNSUPPORTED_METHOD:
      return "an unknown compression method";
    case ISAL_INCORRECT_CHECKSUM:
      return "a wrong checksum";
    default:
      return "broken data";
  }
}

}  // namespace

struct GzipReader::State {
  std::string name;
  int file = -1;
  std::vector<unsigned char> input;  // file only
  const unsigned char* next = nullptr;
  std::size_t available = 0;
  bool is_at_end = false;  // no more input behind `available`
  std::uint64_t taken = 0;
  std::uint64_t given = 0;
  bool is_gzip = false;
  bool is_in_member = false;
  bool has_member = false;  // at least one was read whole
  bool is_broken = false;
  inflate_state inflate{};

  ~State() {
    if (file >= 0) ::close(file);
  }

  [[noreturn]] void fail(ephor_status status, const std::string& what) {
    is_broken = true;
    throw HostError(status, name + ": " + what);
  }

  [[noreturn]] void fail_at(std::string_view found, std::string_view expected) {
    fail(EPHOR_INVALID, "found " + std::string(found) + " at byte " + std::to_string(taken) +
                            ", expected " + std::string(expected));
  }

  void fill() {
    while (available == 0 && !is_at_end) {
      const ssize_t count = ::read(file, input.data(), input.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(EPHOR_IO, std::string("cannot read: ") + std::strerror(errno));
      next = input.data();
      available = static_cast<std::size_t>(count);
      is_at_end = count == 0;
    }
  }

  void detect() {
    // A first read of a pipe may give one byte only: gzip input is then read as plain.
    fill();
    is_gzip = available >= 2 && next[0] == 0x1F && next[1] == 0x8B;
  }

  void start_member() {
    isal_inflate_init(&inflate);
    inflate.crc_flag = ISAL_GZIP;
    is_in_member = true;
  }

  // Between members: zeros may pad the file, as tape and disk blocks do.
  bool find_member() {
    while (true) {
      fill();
      if (available == 0) return false;
      if (has_member && *next == 0) {
        ++next, --available, ++taken;
        continue;
      }
      if (*next != 0x1F) fail_at("trailing bytes", "a gzip member or the end");
      start_member();
      return true;
    }
  }

  std::size_t copy_plain(char* out, std::size_t capacity) {
    std::size_t done = 0;
    while (done < capacity) {
      fill();
      if (available == 0) break;
      const std::size_t count = std::min(available, capacity - done);
      std::memcpy(out + done, next, count);
      next += count, available -= count, taken += count, done += count;
    }
    return done;
  }

  std::size_t unpack(char* out, std::size_t capacity) {
    std::size_t done = 0;
    while (done < capacity) {
      if (!is_in_member && !find_member()) break;
      fill();
      const auto offered = static_cast<std::uint32_t>(
          std::min<std::size_t>(available, std::numeric_limits<std::uint32_t>::max()));
      const auto room = static_cast<std::uint32_t>(
          std::min<std::size_t>(capacity - done, std::numeric_limits<std::uint32_t>::max()));
      inflate.next_in = const_cast<unsigned char*>(next);
      inflate.avail_in = offered;
      inflate.next_out = reinterpret_cast<unsigned char*>(out + done);
      inflate.avail_out = room;
      const int result = isal_inflate(&inflate);
      const std::size_t used = offered - inflate.avail_in;
      const std::size_t made = room - inflate.avail_out;
      next += used, available -= used, taken += used, done += made;
      if (result != ISAL_DECOMP_OK) fail_at(isal_message(result), "gzip");
      if (inflate.block_state == ISAL_BLOCK_FINISH) {
        is_in_member = false;
        has_member = true;
      } else if (used == 0 && made == 0) {
        fail_at("the end of the input", "the rest of a gzip member");
      }
    }
    return done;
  }
};

GzipReader::GzipReader(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  state_->name = path.string();
  state_->file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (state_->file < 0) {
    throw HostError(errno == ENOENT ? EPHOR_NOT_FOUND : EPHOR_IO,
                    state_->name + ": cannot open: " + std::strerror(errno));
  }
  state_->input.resize(kInputBytes);
  state_->detect();
}

GzipReader::GzipReader(std::unique_ptr<State> state) : state_(std::move(state)) {}

GzipReader GzipReader::of_memory(std::string_view bytes, std::string name) {
  auto state = std::make_unique<State>();
  state->name = std::move(name);
  state->next = reinterpret_cast<const unsigned char*>(bytes.data());
  state->available = bytes.size();
  state->is_at_end = true;
  state->detect();
  return GzipReader(std::move(state));
}

GzipReader::~GzipReader() = default;
GzipReader::GzipReader(GzipReader&&) noexcept = default;
GzipReader& GzipReader::operator=(GzipReader&&) noexcept = default;

std::size_t GzipReader::read(char* out, std::size_t capacity) {
  if (state_->is_broken) throw HostError(EPHOR_STATE, state_->name + ": is broken, see before");
  const std::size_t count =
      state_->is_gzip ? state_->unpack(out, capacity) : state_->copy_plain(out, capacity);
  state_->given += count;
  return count;
}

bool GzipReader::is_gzip() const { return state_->is_gzip; }
std::uint64_t GzipReader::input_offset() const { return state_->taken; }
std::uint64_t GzipReader::output_offset() const { return state_->given; }

}  // namespace ephor::host
