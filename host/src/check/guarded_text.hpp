// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstddef>
#include <string_view>

namespace ephor::host::check {

// Text in memory of its own that ends where a page ends that nobody may touch: who takes a view for
// NUL-terminated text, or keeps it beyond its call, crashes and is found. Never NULL, also empty.
class GuardedText {
 public:
  // `slack_bytes` may be read behind the text (of records: 64), and are no zeros.
  explicit GuardedText(std::string_view text, std::size_t slack_bytes = 0);
  ~GuardedText();
  GuardedText(GuardedText&& other) noexcept;
  GuardedText(const GuardedText&) = delete;
  GuardedText& operator=(const GuardedText&) = delete;

  ephor_view view() const { return {text_, size_}; }
  const char* data() const { return text_; }

 private:
  char* pages_ = nullptr;
  std::size_t page_bytes_ = 0;
  char* text_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ephor::host::check
