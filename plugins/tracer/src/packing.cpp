// SPDX-License-Identifier: Apache-2.0
#include "packing.hpp"

#include <zstd.h>

#include <ephor/plugin.hpp>
#include <memory>
#include <new>

namespace ephor::tracer {
namespace {

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

[[noreturn]] void refuse(const std::string& found) {
  throw Error(EPHOR_INVALID, "packed row: found " + found + ", expected one zstd frame");
}

}  // namespace

std::string pack(std::string_view plain, int level) {
  // Making a context costs more than packing a few kilobytes.
  thread_local const std::unique_ptr<ZSTD_CCtx, ContextDeleter> context(ZSTD_createCCtx());
  if (context == nullptr) throw std::bad_alloc();
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size =
      ZSTD_compress2(context.get(), packed.data(), packed.size(), plain.data(), plain.size());
  if (ZSTD_isError(size) != 0) throw Error(EPHOR_INTERNAL, ZSTD_getErrorName(size));
  packed.resize(size);
  return packed;
}

std::string unpack(std::string_view packed, std::size_t size_max) {
  const unsigned long long size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) refuse("other bytes");
  if (size > size_max) refuse("a claim of " + std::to_string(size) + " bytes");
  thread_local const std::unique_ptr<ZSTD_DCtx, ContextDeleter> context(ZSTD_createDCtx());
  if (context == nullptr) throw std::bad_alloc();
  std::string plain(static_cast<std::size_t>(size), '\0');
  const std::size_t got =
      ZSTD_decompressDCtx(context.get(), plain.data(), plain.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) != 0) refuse(ZSTD_getErrorName(got));
  if (got != plain.size()) refuse("a shorter one than it claims");
  return plain;
}

}  // namespace ephor::tracer
