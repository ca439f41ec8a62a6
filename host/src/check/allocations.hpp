// SPDX-License-Identifier: Apache-2.0
//
// What malloc gave and got back, and a way to make it fail. Counted in the program ephor-checker
// only, whose malloc (counting_malloc.cpp) is everybody's in the process.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ephor::host::check::allocations {

// False in a program without the counting malloc: a sanitizer has its own.
bool is_counted();

struct Usage {
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;
};
Usage usage();  // now in use, of all threads

// Smaller allocations succeed also while larger ones fail: destructors, which may not throw, make
// small ones (those of nlohmann::json do), and it is for large ones that memory runs out.
constexpr std::size_t kFailingBytes = 1024;
// For calls that build large documents, whose destructors allocate by the number of members.
constexpr std::size_t kFailingBytesOfDocuments = 16 * 1024;

// From here on the allocation of that number (1: the next) of this thread and all behind it fail.
void fail_from(std::uint64_t number, std::size_t bytes_min = kFailingBytes);
void fail_none();
// How many allocations of this thread were made to fail, or asked since fail_from.
std::uint64_t failed_count();
std::uint64_t asked_count();

// While it lives, allocations of this thread are the host's own: they neither fail nor are counted
// towards fail_from. Every function of the checking host opens one.
class HostSide {
 public:
  HostSide();
  ~HostSide();
  HostSide(const HostSide&) = delete;
  HostSide& operator=(const HostSide&) = delete;

 private:
  bool was_armed_;
};

// For the counting malloc.
void note_allocated(std::int64_t bytes);
void note_freed(std::int64_t bytes);
void note_is_counted();
bool must_fail(std::size_t bytes);

}  // namespace ephor::host::check::allocations
