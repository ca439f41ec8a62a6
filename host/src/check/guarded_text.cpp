// SPDX-License-Identifier: Apache-2.0
#include "check/guarded_text.hpp"

#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace ephor::host::check {
namespace {

constexpr std::size_t kRetiredMax = 16;

}  // namespace

GuardedText::GuardedText(std::string_view text, std::size_t slack_bytes) : size_(text.size()) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t wanted = text.size() + slack_bytes;
  const std::size_t readable = (wanted + page - 1) / page * page;
  page_bytes_ = readable + page;
  void* made =
      ::mmap(nullptr, page_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<char*>(made);
  ::mprotect(pages_ + readable, page, PROT_NONE);
  text_ = pages_ + readable - wanted;
  if (!text.empty()) std::memcpy(text_, text.data(), text.size());
  std::memset(text_ + text.size(), 0xA5, slack_bytes);
}

GuardedText::~GuardedText() {
  if (pages_ == nullptr) return;
  // Out of reach for a while, so that who kept a view of it does not read the next text there.
  static std::mutex mutex;  // guards retired
  static auto& retired = *new std::deque<std::pair<char*, std::size_t>>();
  ::mprotect(pages_, page_bytes_, PROT_NONE);
  const std::scoped_lock lock(mutex);
  retired.emplace_back(pages_, page_bytes_);
  if (retired.size() <= kRetiredMax) return;
  ::munmap(retired.front().first, retired.front().second);
  retired.pop_front();
}

GuardedText::GuardedText(GuardedText&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      page_bytes_(other.page_bytes_),
      text_(other.text_),
      size_(other.size_) {}

}  // namespace ephor::host::check
