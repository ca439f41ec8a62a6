// SPDX-License-Identifier: Apache-2.0
//
// What a plugin file says of itself, read from its bytes: no code of it runs. The format of the
// note is described in <ephor/note.h>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

// One note: one plugin of a file.
struct PluginNote {
  std::string id;
  std::string version;
  std::string summary;
  std::string sdk;
  std::string license;  // empty: not told
  std::uint16_t abi_major = 0;
  std::uint16_t abi_minor = 0;
  std::uint16_t abi_minor_required = 0;
  std::uint32_t capabilities = 0;
  std::vector<std::string> required_extensions;
  std::vector<std::string> optional_extensions;
  std::optional<std::string> config_schema;  // JSON; members in another order than in the file
  std::optional<std::uint64_t> config_schema_hash;
};

struct LibraryFacts {
  std::uint64_t size = 0;         // bytes of the file
  std::vector<PluginNote> notes;  // empty: an older binary, or one of another language
  std::string build_id;           // hexadecimal; empty: none
  // Unknown without section headers.
  std::optional<bool> has_entry;                // it exports ephor_plugin_entry_v1
  std::optional<std::uint64_t> exported_count;  // symbols it exports
};

// Bytes to read from, wherever they are.
class LibraryBytes {
 public:
  virtual ~LibraryBytes() = default;
  virtual std::uint64_t size() const = 0;
  // `offset` + `size` is within size(). Throws HostError if the bytes cannot be had.
  virtual void read(std::uint64_t offset, char* to, std::size_t size) const = 0;
};

// Throws HostError EPHOR_INVALID: what was found, what was expected; EPHOR_UNSUPPORTED for another
// machine. Reads headers, notes and the table of exported symbols only; takes at most some MiB of
// memory whatever the bytes say.
LibraryFacts read_library(const LibraryBytes& bytes);

// The same of an open file, and of a file by name: the error names it. Whatever is no regular file
// is refused without being read.
LibraryFacts read_library(int descriptor, const std::filesystem::path& file);
LibraryFacts read_library(const std::filesystem::path& file);

// A regular file opened for reading, never waiting. Throws HostError naming it.
class OpenedFile {
 public:
  explicit OpenedFile(const std::filesystem::path& file);
  ~OpenedFile();
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace ephor::host
