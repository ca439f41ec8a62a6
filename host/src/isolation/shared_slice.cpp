// SPDX-License-Identifier: Apache-2.0
#include "isolation/shared_slice.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "event/batch.hpp"
#include "event/error.hpp"

namespace ephor::host::isolation {
namespace {

std::uint32_t* word_of(std::atomic<std::uint32_t>& word) {
  static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
  return reinterpret_cast<std::uint32_t*>(&word);
}

// Not the private kind: the other sleeper is another process. Wakes by itself now and then, so that
// nothing hangs on a wake-up that a process gone mad did not give.
void sleep_while(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  const timespec most{0, 100'000'000};
  ::syscall(SYS_futex, word_of(word), FUTEX_WAIT, value, &most, nullptr, 0);
}
void wake_sleeper(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, word_of(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

[[noreturn]] void fail(const char* what) {
  throw HostError(EPHOR_IO, std::string("shared memory: ") + what + ": " + std::strerror(errno));
}

int made_file() {
  const int file = ::memfd_create("ephor-slice", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) fail("memfd_create");
  return file;
}

void put_text(char* to, std::size_t capacity, std::string_view text) {
  to[text.copy(to, capacity - 1)] = '\0';
}

// The other side may write on: what is taken is taken once, and ends where the buffer does.
std::string taken_text(const char* from, std::size_t capacity) {
  std::string text(from, capacity - 1);
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

}  // namespace

SharedMapping::SharedMapping(int file) : file_(file) {
  // More than the file has: it grows under the mapping.
  void* mapped =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (mapped == MAP_FAILED) {
    ::close(file);
    fail("mmap");
  }
  begin_ = static_cast<char*>(mapped);
}

SharedMapping::~SharedMapping() {
  ::munmap(begin_, kBytes);
  ::close(file_);
}

SliceSender::SliceSender() : mapping_(made_file()) {
  make_room(1U << 20);
  // GROW stays open to the host; nobody adds another seal that would close it.
  if (::fcntl(file(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) fail("sealing");
}

void SliceSender::make_room(std::size_t record_bytes) {
  const std::size_t wanted = SharedMapping::kRecordsAt + record_bytes;
  if (wanted <= file_bytes_) return;
  const std::size_t size = std::min(SharedMapping::kBytes, std::max(wanted, 2 * file_bytes_));
  if (::ftruncate(file(), static_cast<off_t>(size)) != 0) fail("growing");
  file_bytes_ = size;
}

std::uint32_t SliceSender::send(std::span<const ephor_event> events) {
  std::size_t used = 0;
  std::uint32_t count = 0;
  const std::uint32_t most =
      static_cast<std::uint32_t>(std::min<std::size_t>(events.size(), kSliceEventsMax));
  for (; count < most; ++count) {
    const std::size_t length = events[count].record_length;
    // Several events of one record share it.
    const bool is_shared = count > 0 && events[count].record == events[count - 1].record &&
                           length == events[count - 1].record_length;
    if (!is_shared && used + length + kRecordSlackBytes > kRecordBytesMax) break;
    if (!is_shared) used += length;
  }
  if (count == 0) return 0;
  make_room(used + kRecordSlackBytes);
  ephor_event* out = mapping_.events();
  char* to = mapping_.records();
  std::size_t at = 0;
  std::size_t last = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const ephor_event& event = events[i];
    if (i == 0 || event.record != events[i - 1].record ||
        event.record_length != events[i - 1].record_length) {
      if (event.record_length > 0) std::memcpy(to + at, event.record, event.record_length);
      last = at;
      at += event.record_length;
    }
    out[i] = event;
    out[i].record = reinterpret_cast<const char*>(last);  // an offset; the runner adds its base
  }
  mapping_.head().count = count;
  asked_ = mapping_.head().asked.load(std::memory_order_relaxed) + 1;
  mapping_.head().answered.store(asked_ - 1, std::memory_order_relaxed);
  mapping_.head().asked.store(asked_, std::memory_order_release);
  wake_sleeper(mapping_.head().asked);
  return count;
}

bool SliceSender::wait(const std::function<bool()>& is_lost) {
  std::atomic<std::uint32_t>& answered = mapping_.head().answered;
  for (;;) {
    const std::uint32_t now = answered.load(std::memory_order_acquire);
    if (is_lost()) return false;
    if (now == asked_) return true;
    sleep_while(answered, now);
  }
}

void SliceSender::wake() {
  // Another value than the sleeper saw, so that it does not fall asleep on the old one.
  mapping_.head().answered.fetch_add(1U << 31, std::memory_order_release);
  wake_sleeper(mapping_.head().answered);
}

SliceSender::Answer SliceSender::answer() const {
  const SharedHead& head = mapping_.head();
  Answer out;
  out.status = head.status;
  if (out.status != EPHOR_OK) {
    out.message = taken_text(head.message, sizeof head.message);
    out.json_pointer = taken_text(head.json_pointer, sizeof head.json_pointer);
  }
  const std::uint64_t bytes = *static_cast<const volatile std::uint64_t*>(&head.draft_bytes);
  out.drafts.assign(mapping_.drafts(), std::min<std::uint64_t>(bytes, kDraftBytesMax));
  return out;
}

SliceSender::Crash SliceSender::crash() const {
  return {mapping_.head().crash_signal.load(), mapping_.head().crash_method.load()};
}

std::span<const ephor_event> SliceReceiver::wait() {
  SharedHead& head = mapping_.head();
  std::uint32_t asked = head.asked.load(std::memory_order_acquire);
  while (asked == seen_) {
    sleep_while(head.asked, asked);
    asked = head.asked.load(std::memory_order_acquire);
  }
  seen_ = asked;
  ephor_event* events = mapping_.events();
  for (std::uint32_t i = 0; i < head.count; ++i) {
    events[i].record = mapping_.records() + reinterpret_cast<std::uintptr_t>(events[i].record);
  }
  return {events, head.count};
}

void SliceReceiver::answer(ephor_status status, std::string_view message,
                           std::string_view json_pointer, std::size_t draft_bytes) {
  SharedHead& head = mapping_.head();
  head.status = status;
  if (status != EPHOR_OK) {
    put_text(head.message, sizeof head.message, message);
    put_text(head.json_pointer, sizeof head.json_pointer, json_pointer);
  }
  head.draft_bytes = draft_bytes;
  head.answered.store(seen_, std::memory_order_release);
  wake_sleeper(head.answered);
}

}  // namespace ephor::host::isolation
