// SPDX-License-Identifier: Apache-2.0
#include "store/page_scan.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event/error.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kHeaderBytes = 100;
constexpr std::size_t kWalHeaderBytes = 32;
constexpr std::size_t kFrameHeaderBytes = 24;
constexpr unsigned char kLeafOfTable = 0x0D;
constexpr std::size_t kColumnsMax = 64;

std::uint32_t big_endian(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

bool read_at(int file, std::uint64_t offset, char* out, std::size_t count) {
  while (count > 0) {
    const ssize_t got = ::pread(file, out, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

bool is_page_size(std::uint32_t size) {
  return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

std::uint64_t size_of(int file) {
  struct stat facts {};
  return ::fstat(file, &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
}

// SQLite's variable-length integer; false at the end of the bytes.
bool varint(std::string_view bytes, std::size_t& at, std::uint64_t& value) {
  value = 0;
  for (int i = 0; i < 9; ++i) {
    if (at >= bytes.size()) return false;
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    if (i == 8) {
      value = value << 8U | byte;
      return true;
    }
    value = value << 7U | (byte & 0x7FU);
    if ((byte & 0x80U) == 0) return true;
  }
  return true;
}

bool read_value(std::string_view payload, std::uint64_t type, std::size_t& at,
                ScannedValue& value) {
  static constexpr std::size_t kSizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  using Kind = ScannedValue::Kind;
  if (type == 10 || type == 11) return false;
  const std::uint64_t size = type < 10 ? kSizes[type] : (type - 12) / 2;
  if (size > payload.size() - at) return false;
  if (type >= 12) {
    value.kind = type % 2 == 0 ? Kind::blob : Kind::text;
    value.bytes.assign(payload.substr(at, size));
  } else if (type == 8 || type == 9) {
    value.kind = Kind::integer;
    value.integer = type == 9 ? 1 : 0;
  } else if (type == 7) {
    value.kind = Kind::other;
  } else if (type != 0) {
    std::uint64_t number = (static_cast<unsigned char>(payload[at]) & 0x80U) != 0 ? ~0ULL : 0;
    for (std::size_t i = 0; i < size; ++i) {
      number = number << 8U | static_cast<unsigned char>(payload[at + i]);
    }
    value.kind = Kind::integer;
    value.integer = static_cast<std::int64_t>(number);
  }
  at += size;
  return true;
}

bool read_record(std::string_view payload, std::vector<ScannedValue>& values) {
  std::size_t at = 0;
  std::uint64_t header_size = 0;
  if (!varint(payload, at, header_size) || header_size > payload.size()) return false;
  std::size_t value_at = header_size;
  values.clear();
  while (at < header_size) {
    std::uint64_t type = 0;
    if (values.size() == kColumnsMax || !varint(payload.substr(0, header_size), at, type)) {
      return false;
    }
    if (!read_value(payload, type, value_at, values.emplace_back())) return false;
  }
  return true;
}

// Of a record whose header lies in `payload`; 0 if it does not.
std::size_t column_count(std::string_view payload) {
  std::size_t at = 0;
  std::uint64_t header_size = 0;
  if (!varint(payload, at, header_size) || header_size > payload.size()) return 0;
  std::size_t count = 0;
  std::uint64_t type = 0;
  while (at < header_size && varint(payload.substr(0, header_size), at, type)) ++count;
  return at == header_size ? count : 0;
}

// The bytes of a cell that do not lie in its page.
bool read_overflow(const PageFile& file, std::uint32_t page, std::uint64_t size,
                   std::string& payload) {
  std::string bytes;
  const std::uint32_t most = file.usable_size() - 4;
  while (payload.size() < size) {
    if (page == 0 || !file.read(page, bytes)) return false;
    page = big_endian(bytes, 0, 4);
    payload.append(bytes, 4, std::min<std::uint64_t>(most, size - payload.size()));
  }
  return true;
}

}  // namespace

PageFile::PageFile(const std::filesystem::path& file)
    : name_(file.filename().string()), file_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (file_ < 0) throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
  read_header();
  page_count_ = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(size_of(file_) / page_size_, UINT32_MAX - 1));
  read_wal(std::filesystem::path(file) += "-wal");
}

PageFile::~PageFile() {
  ::close(file_);
  if (wal_ >= 0) ::close(wal_);
}

void PageFile::read_header() {
  std::string header(kHeaderBytes, '\0');
  if (!read_at(file_, 0, header.data(), header.size())) return;
  if (!header.starts_with("SQLite format 3")) return;  // the usual sizes are assumed
  std::uint32_t size = big_endian(header, 16, 2);
  if (size == 1) size = 65536;
  if (is_page_size(size)) page_size_ = size;
  reserved_ = std::min<std::uint32_t>(big_endian(header, 20, 1), 32);
}

// Frames up to the last commit. Their checksums are not looked at: what is read out of the pages
// has its own.
void PageFile::read_wal(const std::filesystem::path& wal) {
  wal_ = ::open(wal.c_str(), O_RDONLY | O_CLOEXEC);
  std::string header(kWalHeaderBytes, '\0');
  if (wal_ < 0 || !read_at(wal_, 0, header.data(), header.size())) return;
  if (big_endian(header, 0, 4) >> 1U != 0x377f0682U >> 1U ||
      big_endian(header, 8, 4) != page_size_) {
    return;
  }
  const std::string_view salts = std::string_view(header).substr(16, 8);
  std::map<std::uint32_t, std::uint64_t> open;  // of the transaction in hand
  std::string frame(kFrameHeaderBytes, '\0');
  const std::uint64_t size = size_of(wal_);
  // A frame adds at most one page; a number beyond that is damage, and would be looked for for
  // ever.
  const std::uint64_t pages_max = page_count_ + size / (kFrameHeaderBytes + page_size_);
  for (std::uint64_t at = kWalHeaderBytes; at + kFrameHeaderBytes + page_size_ <= size;
       at += kFrameHeaderBytes + page_size_) {
    if (!read_at(wal_, at, frame.data(), frame.size())) return;
    if (std::string_view(frame).substr(8, 8) != salts) return;
    open[big_endian(frame, 0, 4)] = at + kFrameHeaderBytes;
    if (big_endian(frame, 4, 4) == 0) continue;
    for (const auto& [page, offset] : open) {
      if (page > pages_max) continue;
      wal_pages_[page] = offset;
      page_count_ = std::max(page_count_, page);
    }
    open.clear();
  }
}

bool PageFile::read(std::uint32_t page, std::string& bytes) const {
  if (page == 0 || page > page_count_) return false;
  bytes.resize(page_size_);
  const auto found = wal_pages_.find(page);
  if (found != wal_pages_.end()) return read_at(wal_, found->second, bytes.data(), page_size_);
  return read_at(file_, static_cast<std::uint64_t>(page - 1) * page_size_, bytes.data(),
                 page_size_);
}

std::string PageFile::place_of(std::uint32_t page, std::uint32_t offset) const {
  const auto found = wal_pages_.find(page);
  if (found != wal_pages_.end()) {
    return name_ + "-wal byte " + std::to_string(found->second + offset);
  }
  return name_ + " byte " +
         std::to_string(static_cast<std::uint64_t>(page - 1) * page_size_ + offset);
}

bool read_row(const PageFile& file, std::uint32_t page, std::uint32_t offset, ScannedRow& row) {
  std::string bytes;
  if (!file.read(page, bytes)) return false;
  const std::string_view usable = std::string_view(bytes).substr(0, file.usable_size());
  std::size_t at = offset;
  std::uint64_t size = 0;
  std::uint64_t rowid = 0;
  if (!varint(usable, at, size) || !varint(usable, at, rowid)) return false;
  if (size > std::uint64_t{file.page_count()} * file.page_size()) return false;
  const std::uint64_t local_max = file.usable_size() - 35;
  std::uint64_t local = size;
  if (size > local_max) {
    const std::uint64_t local_min = (file.usable_size() - 12ULL) * 32 / 255 - 23;
    local = local_min + (size - local_min) % (file.usable_size() - 4);
    if (local > local_max) local = local_min;
  }
  if (local > usable.size() - at) return false;
  std::string payload(usable.substr(at, local));
  if (local < size) {
    if (usable.size() - at - local < 4) return false;
    if (!read_overflow(file, big_endian(usable, at + local, 4), size, payload)) return false;
  }
  row.page = page;
  row.offset = offset;
  row.rowid = static_cast<std::int64_t>(rowid);
  return read_record(payload, row.values);
}

void scan_cells(const PageFile& file, const std::function<void(const CellPlace&)>& visitor) {
  std::string bytes;
  for (std::uint32_t page = 1; page <= file.page_count(); ++page) {
    const std::size_t begin = page == 1 ? kHeaderBytes : 0;
    if (!file.read(page, bytes)) continue;
    if (static_cast<unsigned char>(bytes[begin]) != kLeafOfTable) continue;
    const std::string_view usable = std::string_view(bytes).substr(0, file.usable_size());
    const std::uint32_t cells = big_endian(usable, begin + 3, 2);
    for (std::uint32_t i = 0; i < cells && begin + 10 + 2 * i <= usable.size(); ++i) {
      const std::uint32_t offset = big_endian(usable, begin + 8 + 2 * i, 2);
      std::size_t at = offset;
      std::uint64_t size = 0;
      std::uint64_t rowid = 0;
      if (offset < begin + 8 || !varint(usable, at, size) || !varint(usable, at, rowid)) continue;
      visitor({page, offset, static_cast<std::int64_t>(rowid), column_count(usable.substr(at))});
    }
  }
}

void scan_rows(const PageFile& file, const std::function<void(const ScannedRow&)>& visitor) {
  ScannedRow row;
  scan_cells(file, [&](const CellPlace& cell) {
    if (read_row(file, cell.page, cell.offset, row)) visitor(row);
  });
}

}  // namespace ephor::host
