// SPDX-License-Identifier: Apache-2.0
//
// A slice of events on its way from host to runner: shared memory that both have mapped, and two
// counters in it that each side sleeps on. Delivery is one slice at a time, so one place is enough:
// the host copies the records in once, the plugin reads them where they lie.
//
//   head | drafts the slice led to (runner -> host) | descriptors | records, 64 bytes of slack
//
// The runner may write anything anywhere in it, so the host reads nothing from it but a status, two
// texts and a length, each checked. The file cannot be made smaller under the host (F_SEAL_SHRINK).
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace ephor::host::isolation {

inline constexpr std::uint32_t kSliceEventsMax = 256;
inline constexpr std::size_t kDraftBytesMax = 1U << 20;
// More than the largest record of a configuration (64 MiB): one always fits.
inline constexpr std::size_t kRecordBytesMax = 72U << 20;

struct SharedHead {
  alignas(64) std::atomic<std::uint32_t> asked;     // by the host: one more for each slice
  alignas(64) std::atomic<std::uint32_t> answered;  // by the runner
  alignas(64) std::uint32_t count;
  // The answer.
  std::int32_t status;
  std::uint64_t draft_bytes;
  char message[sizeof(ephor_error::message)];
  char json_pointer[sizeof(ephor_error::json_pointer)];
  // Written by the runner's crash handler.
  std::atomic<std::int32_t> crash_signal;
  std::atomic<std::uint32_t> crash_method;
};
inline constexpr std::size_t kHeadBytes = 4096;
static_assert(sizeof(SharedHead) <= kHeadBytes);

class SharedMapping {
 public:
  // Takes the descriptor of the memory file. Throws HostError.
  explicit SharedMapping(int file);
  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;

  static constexpr std::size_t kDraftsAt = kHeadBytes;
  static constexpr std::size_t kEventsAt = kDraftsAt + kDraftBytesMax;
  static constexpr std::size_t kRecordsAt = kEventsAt + kSliceEventsMax * sizeof(ephor_event);
  static constexpr std::size_t kBytes = kRecordsAt + kRecordBytesMax;

  int file() const { return file_; }
  SharedHead& head() const { return *reinterpret_cast<SharedHead*>(begin_); }
  char* drafts() const { return begin_ + kDraftsAt; }
  ephor_event* events() const { return reinterpret_cast<ephor_event*>(begin_ + kEventsAt); }
  char* records() const { return begin_ + kRecordsAt; }

 private:
  const int file_;
  char* begin_ = nullptr;
};

// The host's side. Not thread-safe but for `wake` and `crash`.
class SliceSender {
 public:
  SliceSender();  // throws HostError

  int file() const { return mapping_.file(); }

  // Copies as many events in as have room, and asks. 0: not even the first one has.
  std::uint32_t send(std::span<const ephor_event> events);

  struct Answer {
    ephor_status status = EPHOR_OK;
    std::string message;
    std::string json_pointer;
    std::string drafts;  // as the runner wrote them
  };
  // Waits for the answer to what was sent. False if `is_lost` became true, which `wake` tells.
  bool wait(const std::function<bool()>& is_lost);
  Answer answer() const;
  void wake();  // [any]

  struct Crash {
    int signal = 0;
    std::uint32_t method = 0;
  };
  Crash crash() const;  // [any]

 private:
  void make_room(std::size_t record_bytes);

  SharedMapping mapping_;
  std::size_t file_bytes_ = 0;
  std::uint32_t asked_ = 0;
};

// The runner's side: one thread of it waits for slices.
class SliceReceiver {
 public:
  explicit SliceReceiver(int file) : mapping_(file) {}

  // Waits for the next slice; its events point into shared memory until `answer`.
  std::span<const ephor_event> wait();
  char* drafts() const { return mapping_.drafts(); }
  void answer(ephor_status status, std::string_view message, std::string_view json_pointer,
              std::size_t draft_bytes);
  SharedHead& head() const { return mapping_.head(); }

 private:
  SharedMapping mapping_;
  std::uint32_t seen_ = 0;
};

}  // namespace ephor::host::isolation
