// SPDX-License-Identifier: Apache-2.0
//
// The malloc of ephor-checker, which every library in the process uses: glibc's, counted. Only in
// that program, and in no build with a sanitizer.
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <malloc.h>

#include "check/allocations.hpp"

extern "C" {
void* __libc_malloc(std::size_t);
void __libc_free(void*);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

namespace allocations = ephor::host::check::allocations;

std::int64_t bytes_of(void* block) {
  return static_cast<std::int64_t>(::malloc_usable_size(block));
}

void* noted(void* block) {
  if (block != nullptr) allocations::note_allocated(bytes_of(block));
  return block;
}

void* refused() {
  errno = ENOMEM;
  return nullptr;
}

struct Begin {
  Begin() { allocations::note_is_counted(); }
} const begin;

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  return allocations::must_fail(size) ? refused() : noted(__libc_malloc(size));
}

void free(void* block) {
  if (block == nullptr) return;
  allocations::note_freed(bytes_of(block));
  __libc_free(block);
}

void* calloc(std::size_t count, std::size_t size) {
  return allocations::must_fail(count * size) ? refused() : noted(__libc_calloc(count, size));
}

void* realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  if (allocations::must_fail(size)) return refused();
  const std::int64_t before = bytes_of(block);
  void* moved = __libc_realloc(block, size);
  if (moved == nullptr && size != 0) return nullptr;
  allocations::note_freed(before);
  return noted(moved);
}

void* memalign(std::size_t alignment, std::size_t size) {
  return allocations::must_fail(size) ? refused() : noted(__libc_memalign(alignment, size));
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  void* block = memalign(alignment, size);
  if (block == nullptr) return ENOMEM;
  *out = block;
  return 0;
}

}  // extern "C"
