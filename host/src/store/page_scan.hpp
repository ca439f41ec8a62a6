// SPDX-License-Identifier: Apache-2.0
//
// A SQLite file looked at page by page, without its B-trees: what recovery and the search for the
// place of a fault stand on (https://www.sqlite.org/fileformat2.html, sections 1.6, 2 and 4). No
// byte is trusted; what cannot be decoded is passed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ephor::host {

// The pages of a database with the committed frames of its -wal over them. Not thread-safe.
class PageFile {
 public:
  // HostError EPHOR_IO if the file cannot be read at all.
  explicit PageFile(const std::filesystem::path& file);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  std::uint32_t page_size() const { return page_size_; }
  std::uint32_t usable_size() const { return page_size_ - reserved_; }
  std::uint32_t page_count() const { return page_count_; }
  // False if there is no such page or it cannot be read; counted from 1.
  bool read(std::uint32_t page, std::string& bytes) const;
  // Where a byte of a page lies: "journal.db byte 8192".
  std::string place_of(std::uint32_t page, std::uint32_t offset) const;

 private:
  void read_header();
  void read_wal(const std::filesystem::path& wal);

  const std::string name_;
  int file_ = -1;
  int wal_ = -1;
  std::uint32_t page_size_ = 4096;
  std::uint32_t reserved_ = 0;
  std::uint32_t page_count_ = 0;
  std::map<std::uint32_t, std::uint64_t> wal_pages_;  // offset in the -wal
};

struct ScannedValue {
  enum class Kind { null, integer, other, text, blob } kind = Kind::null;
  std::int64_t integer = 0;
  std::string bytes;
};
struct ScannedRow {
  std::uint32_t page = 0;
  std::uint32_t offset = 0;  // in the page
  std::int64_t rowid = 0;
  std::vector<ScannedValue> values;
};

// Where a row's cell is, and how many columns its header has; nothing behind is looked at.
struct CellPlace {
  std::uint32_t page = 0;
  std::uint32_t offset = 0;
  std::int64_t rowid = 0;
  std::size_t columns = 0;
};
void scan_cells(const PageFile& file, const std::function<void(const CellPlace&)>& visitor);

// The row of a table whose cell begins at `offset` of `page`; false if there is none.
bool read_row(const PageFile& file, std::uint32_t page, std::uint32_t offset, ScannedRow& row);

// Every row of every table, also of pages that are free by now; in the order of pages.
void scan_rows(const PageFile& file, const std::function<void(const ScannedRow&)>& visitor);

}  // namespace ephor::host
