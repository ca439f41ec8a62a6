// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace ephor::host {

// Reads a gzip file (one or several members, checksums checked) or, when the first bytes are not
// those of gzip, a plain one. Not thread-safe. Failures are HostErrors that name the input and the
// byte offset in it.
class GzipReader {
 public:
  // EPHOR_NOT_FOUND or EPHOR_IO if the file cannot be opened.
  explicit GzipReader(const std::filesystem::path& path);
  // From memory, which must outlive the reader. `name` is for messages.
  static GzipReader of_memory(std::string_view bytes, std::string name = "body");
  ~GzipReader();
  GzipReader(GzipReader&&) noexcept;
  GzipReader& operator=(GzipReader&&) noexcept;

  // Fills `out` as far as the input goes; fewer than `capacity` bytes only at the end, 0 at the
  // end. Throws HostError: EPHOR_INVALID for broken or truncated input, EPHOR_IO.
  std::size_t read(char* out, std::size_t capacity);

  bool is_gzip() const;
  std::uint64_t input_offset() const;   // bytes of the file taken so far
  std::uint64_t output_offset() const;  // bytes given out so far

 private:
  struct State;
  explicit GzipReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ephor::host
