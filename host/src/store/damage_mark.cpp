// SPDX-License-Identifier: Apache-2.0
#include "store/damage_mark.hpp"

#include <ephor/abi.h>

#include <fstream>
#include <iterator>

#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

fs::path mark_of(const fs::path& file) { return fs::path(file) += ".damaged"; }

}  // namespace

void mark_as_damaged(const fs::path& file, const std::string& what) noexcept {
  try {
    if (fs::exists(mark_of(file))) return;
    std::ofstream(mark_of(file)) << what << "\n";
  } catch (const std::exception&) {
    return;
  }
}

std::optional<std::string> damage_mark(const fs::path& file) {
  std::ifstream in(mark_of(file));
  if (!in) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void clear_damage_mark(const fs::path& file) noexcept {
  std::error_code ignored;
  fs::remove(mark_of(file), ignored);
}

fs::path set_aside(const fs::path& file, std::int64_t now_ns) {
  std::string time = format_time(now_ns - now_ns % 1'000'000'000);
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  fs::path aside = fs::path(file) += ".damaged-" + time;
  for (int i = 2; fs::exists(aside); ++i) {
    aside = fs::path(file) += ".damaged-" + time + "-" + std::to_string(i);
  }
  for (const char* part : {"", "-wal", "-shm"}) {
    const fs::path from = fs::path(file) += part;
    if (!fs::exists(from)) continue;
    std::error_code failure;
    fs::rename(from, fs::path(aside) += part, failure);
    if (failure) {
      throw HostError(EPHOR_IO, from.string() + ": cannot be set aside: " + failure.message());
    }
  }
  clear_damage_mark(file);
  return aside;
}

}  // namespace ephor::host
