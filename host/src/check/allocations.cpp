// SPDX-License-Identifier: Apache-2.0
#include "check/allocations.hpp"

#include <atomic>

namespace ephor::host::check::allocations {
namespace {

std::atomic<bool> counts{false};
std::atomic<std::int64_t> blocks_in_use{0};
std::atomic<std::int64_t> bytes_in_use{0};

// Of this thread; plain data, so that reading it allocates nothing.
thread_local bool is_armed = false;
thread_local std::uint64_t first_failing = 0;
thread_local std::size_t failing_bytes = kFailingBytes;
thread_local std::uint64_t asked = 0;
thread_local std::uint64_t failed = 0;

}  // namespace

bool is_counted() { return counts.load(std::memory_order_relaxed); }

Usage usage() {
  return {blocks_in_use.load(std::memory_order_relaxed),
          bytes_in_use.load(std::memory_order_relaxed)};
}

void fail_from(std::uint64_t number, std::size_t bytes_min) {
  failing_bytes = bytes_min;
  first_failing = number;
  asked = failed = 0;
  is_armed = true;
}
void fail_none() { is_armed = false; }
std::uint64_t failed_count() { return failed; }
std::uint64_t asked_count() { return asked; }

HostSide::HostSide() : was_armed_(is_armed) { is_armed = false; }
HostSide::~HostSide() { is_armed = was_armed_; }

void note_allocated(std::int64_t bytes) {
  blocks_in_use.fetch_add(1, std::memory_order_relaxed);
  bytes_in_use.fetch_add(bytes, std::memory_order_relaxed);
}
void note_freed(std::int64_t bytes) {
  blocks_in_use.fetch_sub(1, std::memory_order_relaxed);
  bytes_in_use.fetch_sub(bytes, std::memory_order_relaxed);
}
void note_is_counted() { counts.store(true, std::memory_order_relaxed); }

bool must_fail(std::size_t bytes) {
  if (!is_armed || bytes < failing_bytes || ++asked < first_failing) return false;
  ++failed;
  return true;
}

}  // namespace ephor::host::check::allocations
