// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

namespace ephor::testing {

// A file below the shared data folder (EPHOR_SHARED_DATA, else ../shared/data beside the checkout).
// Absent: prints "SKIPPED <test>: <path> is not here" and is empty; the test then returns.
std::optional<std::filesystem::path> shared_data(std::string_view relative_path);

// A fixture of our own below tests/data; it always exists.
std::filesystem::path test_data(std::string_view relative_path);

// A new empty directory, removed with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace ephor::testing
