# SPDX-License-Identifier: Apache-2.0
"""abi_sizes.hpp: how large a struct with a struct_size was in the first release that had it."""

HEAD = """\
// SPDX-License-Identifier: Apache-2.0
//
// How large each struct was in the first release that had it; no side may pass a shorter one.
// Generated from {source} by sdk/abi/generate.py.
#pragma once

#include <ephor/abi.h>

#include <cstddef>
#include <cstdint>

namespace ephor {{

template <typename Struct>
struct FirstRelease;

"""
TAIL = """
template <typename Struct>
inline constexpr std::uint32_t least_size = FirstRelease<Struct>::kSize;

// Whether all that the first release promised is behind the pointer. Reads struct_size alone.
template <typename Struct>
constexpr bool is_whole(const Struct& one) {
  return one.struct_size >= least_size<Struct>;
}

}  // namespace ephor
"""


def render(spec, source):
    out = HEAD.format(source=source)
    for item in spec.items("struct"):
        if item.has_struct_size:
            # The last field of the release that brought the struct: what is younger came behind it.
            last = [one for one in item.fields if one.since == item.since][-1]
            end = f"offsetof({item.name}, {last.name}) + sizeof({item.name}::{last.name}));"
            size = f"      static_cast<std::uint32_t>({end}"
            if len(size) <= 100:
                size = "  static constexpr std::uint32_t kSize =\n" + size
            else:
                size = f"  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(\n      {end}"
            out += (f"template <>\nstruct FirstRelease<{item.name}> {{\n"
                    f"  static constexpr const char* kName = \"{item.name}\";\n{size}\n}};\n")
    return out + TAIL
