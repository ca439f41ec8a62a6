// SPDX-License-Identifier: Apache-2.0
#include "store/archive.hpp"

#include <ephor/abi.h>
#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include "event/error.hpp"
#include "event/hash.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 512;
constexpr std::size_t kPieceBytes = 1U << 20;
constexpr std::size_t kNameBytesMax = 100;
constexpr std::uint64_t kOctalSizeMax = (std::uint64_t{1} << 33) - 1;  // 11 octal digits
constexpr int kLevel = 1;  // most of it is compressed already

[[noreturn]] void fail(const fs::path& file, const std::string& what,
                       ephor_status status = EPHOR_IO) {
  throw HostError(status, file.string() + ": " + what);
}

// POSIX ustar; a size beyond 8 GiB in base 256, as GNU tar and libarchive have it.
struct Header {
  char name[kNameBytesMax];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[100];
  char magic[8];
  char rest[247];
};
static_assert(sizeof(Header) == kBlock);

unsigned checksum_of(Header header) {
  std::memset(header.checksum, ' ', sizeof header.checksum);
  unsigned sum = 0;
  for (const unsigned char byte :
       std::string_view(reinterpret_cast<const char*>(&header), kBlock)) {
    sum += byte;
  }
  return sum;
}

Header header_of(const ArchiveMember& member) {
  Header header{};
  std::memcpy(header.name, member.name.data(), member.name.size());
  std::snprintf(header.mode, sizeof header.mode, "%07o", 0600U);
  std::snprintf(header.uid, sizeof header.uid, "%07o", 0U);
  std::snprintf(header.gid, sizeof header.gid, "%07o", 0U);
  if (member.size <= kOctalSizeMax) {
    std::snprintf(header.size, sizeof header.size, "%011llo",
                  static_cast<unsigned long long>(member.size));
  } else {
    header.size[0] = static_cast<char>(0x80);
    for (std::size_t i = 0; i < 8; ++i) {
      header.size[11 - i] = static_cast<char>(member.size >> (8 * i));
    }
  }
  std::snprintf(header.mtime, sizeof header.mtime, "%011o", 0U);
  header.type = '0';
  std::memcpy(header.magic,
              "ustar\0"
              "00",
              8);
  std::snprintf(header.checksum, sizeof header.checksum, "%06o", checksum_of(header));
  return header;
}

std::optional<std::uint64_t> number_in(std::string_view field) {
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80U) != 0) {
    for (const unsigned char byte : field.substr(field.size() - 8)) value = value << 8U | byte;
    return value;
  }
  for (const char digit : field) {
    if (digit == '\0' || digit == ' ') break;
    if (digit < '0' || digit > '7') return std::nullopt;
    value = value << 3U | static_cast<std::uint64_t>(digit - '0');
  }
  return value;
}

bool is_safe(const std::string& name) {
  const fs::path path(name);
  if (name.empty() || path.is_absolute()) return false;
  return std::none_of(path.begin(), path.end(),
                      [](const fs::path& part) { return part == ".." || part.empty(); });
}

class Output {
 public:
  explicit Output(const fs::path& file)
      : file_(file),
        descriptor_(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)),
        context_(ZSTD_createCCtx()),
        packed_(ZSTD_CStreamOutSize()) {
    if (descriptor_ < 0) fail(file_, std::strerror(errno));
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }
  ~Output() { ::close(descriptor_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view bytes) { push(bytes, ZSTD_e_continue); }
  void pad(std::uint64_t size) {
    static constexpr std::array<char, kBlock> kZeros{};
    if (size % kBlock != 0) write({kZeros.data(), kBlock - size % kBlock});
  }
  void finish() {
    push({}, ZSTD_e_end);
    if (::fsync(descriptor_) != 0) fail(file_, std::strerror(errno));
  }

 private:
  void push(std::string_view bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{packed_.data(), packed_.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_.get(), &out, &in, directive);
      if (ZSTD_isError(left) != 0) fail(file_, ZSTD_getErrorName(left));
      put(packed_.data(), out.pos);
      if (directive == ZSTD_e_end ? left == 0 : in.pos == in.size) return;
    }
  }
  void put(const char* bytes, std::size_t count) {
    while (count > 0) {
      const ssize_t written = ::write(descriptor_, bytes, count);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(file_, std::strerror(errno), errno == ENOSPC ? EPHOR_FULL : EPHOR_IO);
      bytes += written;
      count -= static_cast<std::size_t>(written);
    }
  }

  struct Deleter {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  const fs::path file_;
  int descriptor_;
  std::unique_ptr<ZSTD_CCtx, Deleter> context_;
  std::vector<char> packed_;
};

class Input {
 public:
  explicit Input(const fs::path& file)
      : file_(file),
        stream_(file, std::ios::binary),
        context_(ZSTD_createDCtx()),
        packed_(ZSTD_DStreamInSize()) {
    if (!stream_) fail(file_, "cannot be read");
  }

  // Exactly `count` bytes; false at the end of the frame if there is none left.
  bool read(char* out, std::size_t count) {
    ZSTD_outBuffer to{out, count, 0};
    while (to.pos < count) {
      if (in_.pos == in_.size) {
        stream_.read(packed_.data(), static_cast<std::streamsize>(packed_.size()));
        in_ = {packed_.data(), static_cast<std::size_t>(stream_.gcount()), 0};
        if (in_.size == 0) {
          if (to.pos == 0 && is_frame_done_) return false;
          fail(file_, "ends in the middle", EPHOR_INVALID);
        }
      }
      const std::size_t result = ZSTD_decompressStream(context_.get(), &to, &in_);
      if (ZSTD_isError(result) != 0) {
        fail(file_, std::string("found no zstd archive: ") + ZSTD_getErrorName(result),
             EPHOR_INVALID);
      }
      is_frame_done_ = result == 0;
    }
    return true;
  }

 private:
  struct Deleter {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const fs::path file_;
  std::ifstream stream_;
  std::unique_ptr<ZSTD_DCtx, Deleter> context_;
  std::vector<char> packed_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool is_frame_done_ = false;
};

void write_member(Output& out, const ArchiveMember& member, std::vector<char>& piece) {
  if (member.name.size() > kNameBytesMax || !is_safe(member.name)) {
    fail(member.file, "its name does not fit into an archive", EPHOR_INVALID);
  }
  const Header header = header_of(member);
  out.write({reinterpret_cast<const char*>(&header), kBlock});
  std::ifstream in(member.file, std::ios::binary);
  if (!in) fail(member.file, "cannot be read");
  for (std::uint64_t left = member.size; left > 0;) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
    if (!in.read(piece.data(), static_cast<std::streamsize>(count))) {
      fail(member.file, "became shorter while it was read");
    }
    out.write({piece.data(), count});
    left -= count;
  }
  out.pad(member.size);
}

void unpack_member(Input& in, const fs::path& to, std::uint64_t size, std::vector<char>& piece) {
  fs::create_directories(to.parent_path());
  std::ofstream out(to, std::ios::binary | std::ios::trunc);
  for (std::uint64_t left = size; left > 0;) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
    if (!in.read(piece.data(), count)) fail(to, "the archive ends in it", EPHOR_INVALID);
    out.write(piece.data(), static_cast<std::streamsize>(count));
    left -= count;
  }
  if (!out.flush()) fail(to, "cannot be written");
  if (size % kBlock != 0) in.read(piece.data(), kBlock - size % kBlock);
}

}  // namespace

void write_archive(const fs::path& file, const std::vector<ArchiveMember>& members) {
  const fs::path partial = fs::path(file) += ".partial";
  try {
    Output out(partial);
    std::vector<char> piece(kPieceBytes);
    for (const ArchiveMember& member : members) write_member(out, member, piece);
    out.write(std::string(2 * kBlock, '\0'));
    out.finish();
    fs::rename(partial, file);
  } catch (const std::exception& failure) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    if (const auto* known = dynamic_cast<const HostError*>(&failure)) throw HostError(*known);
    fail(file, failure.what());
  }
}

void unpack_archive(const fs::path& file, const fs::path& into) {
  Input in(file);
  std::vector<char> piece(kPieceBytes);
  Header header{};
  while (in.read(reinterpret_cast<char*>(&header), kBlock)) {
    if (header.name[0] == '\0') {  // the end; what follows is zeros and the frame's checksum
      while (in.read(piece.data(), kBlock)) {
      }
      return;
    }
    const auto sum = number_in({header.checksum, sizeof header.checksum});
    const auto size = number_in({header.size, sizeof header.size});
    if (!sum || *sum != checksum_of(header) || !size) {
      fail(file, "found no tar header where one was expected", EPHOR_INVALID);
    }
    const std::string name(header.name, ::strnlen(header.name, sizeof header.name));
    if (!is_safe(name) || (header.type != '0' && header.type != '\0')) {
      fail(file, "found \"" + name + "\", expected a regular file under a relative name",
           EPHOR_INVALID);
    }
    unpack_member(in, into / name, *size, piece);
  }
  fail(file, "ends without the end of the archive", EPHOR_INVALID);
}

std::string file_hash(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) fail(file, "cannot be read");
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::vector<char> piece(kPieceBytes);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    XXH3_128bits_update(state.get(), piece.data(), static_cast<std::size_t>(in.gcount()));
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return digits;
}

}  // namespace ephor::host
