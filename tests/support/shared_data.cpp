// SPDX-License-Identifier: Apache-2.0
#include "support/shared_data.hpp"

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>

#include <unistd.h>

namespace ephor::testing {
namespace fs = std::filesystem;

std::optional<fs::path> shared_data(std::string_view relative_path) {
  const char* from_environment = std::getenv("EPHOR_SHARED_DATA");
  const fs::path root = from_environment != nullptr && *from_environment != '\0'
                            ? fs::path(from_environment)
                            : fs::path(EPHOR_SOURCE_DIR) / ".." / "shared" / "data";
  const fs::path path = root / relative_path;
  if (fs::exists(path)) return path;
  std::cout << "SKIPPED: " << path.string() << " is not here" << std::endl;
  return std::nullopt;
}

fs::path test_data(std::string_view relative_path) {
  return fs::path(EPHOR_SOURCE_DIR) / "tests" / "data" / relative_path;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (fs::temp_directory_path() / "ephor-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace ephor::testing
