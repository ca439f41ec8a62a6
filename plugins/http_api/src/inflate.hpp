// SPDX-License-Identifier: Apache-2.0
//
// Bodies in and out of gzip (ISA-L in, zlib out) and zstd (in). The inflated size is capped before
// the memory is taken, so a small body cannot become a large one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ephor::http_api {

enum class Inflated { ok, corrupt, truncated, too_large };

// Where inflated bytes go: makes room for at least `size_wanted` bytes in all, keeping the
// `size_used` first ones. An empty span: no more than it has.
class GrowingMemory {
 public:
  virtual ~GrowingMemory() = default;
  virtual std::span<char> grow(std::size_t size_used, std::size_t size_wanted) = 0;
};

// `size`: receives how many bytes were made. At most `size_max`.
Inflated inflate_gzip(std::string_view body, std::size_t size_max, GrowingMemory& memory,
                      std::size_t& size);
Inflated inflate_zstd(std::string_view body, std::size_t size_max, GrowingMemory& memory,
                      std::size_t& size);

// Fast rather than small (level 1). Empty on failure.
std::string deflate_gzip(std::string_view body);

}  // namespace ephor::http_api
