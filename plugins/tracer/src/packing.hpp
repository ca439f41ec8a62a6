// SPDX-License-Identifier: Apache-2.0
//
// zstd for what this plugin keeps in rows.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ephor::tracer {

// One zstd frame with content size and checksum.
std::string pack(std::string_view plain, int level);
// Throws ephor::Error(EPHOR_INVALID) unless `packed` is one frame of at most `size_max` bytes.
std::string unpack(std::string_view packed, std::size_t size_max);

}  // namespace ephor::tracer
