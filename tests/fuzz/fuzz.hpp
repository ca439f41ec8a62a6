// SPDX-License-Identifier: Apache-2.0
//
// What the fuzz targets share. A target is one function over bytes from outside; a broken promise
// ends the process, which is what a fuzzer sees. Built with clang it is searched by libFuzzer
// (script/fuzz), built with gcc the small main of corpus_main.cpp runs its corpus as a test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ephor::fuzz {

[[noreturn]] inline void broken(const char* file, int line, const std::string& promise) {
  std::fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, promise.c_str());
  std::abort();
}

// Takes an input apart from its front; gives zeros and empty text once it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool is_used_up() const { return rest_.empty(); }
  std::uint64_t number(std::size_t bytes) {  // little endian
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes && !rest_.empty(); ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>(rest_.front())} << (8 * i);
      rest_.remove_prefix(1);
    }
    return value;
  }
  std::string_view text(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the next `separator`, which is taken and not given.
  std::string_view text_until(char separator) {
    const std::string_view taken = rest_.substr(0, rest_.find(separator));
    rest_.remove_prefix(taken.size() < rest_.size() ? taken.size() + 1 : taken.size());
    return taken;
  }
  std::string_view rest() { return text(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace ephor::fuzz

// As assert, in every build.
#define EPHOR_PROMISE(condition, ...)                                                \
  do {                                                                               \
    if (!(condition)) {                                                              \
      ::ephor::fuzz::broken(__FILE__, __LINE__, "" __VA_ARGS__ " (" #condition ")"); \
    }                                                                                \
  } while (false)
