// SPDX-License-Identifier: Apache-2.0
//
// What a plugin hands over is looked at before it is used. A struct of the frozen ABI is never
// shorter than in 1.0, so that nothing behind this needs EPHOR_HAS for a field of 1.0; a shorter
// one is refused with its name and both sizes, and nothing is read beyond its end. A longer one is
// of a later minor: what lies behind the fields that are known here is not looked at.
#pragma once

#include <ephor/abi.h>

#include <ephor/abi_sizes.hpp>
#include <string>

#include "event/error.hpp"

namespace ephor::host {

// Throws HostError EPHOR_UNSUPPORTED if the struct is shorter than in its first release.
template <typename Struct>
void check_whole(const std::string& where, const Struct& one) {
  if (is_whole(one)) return;
  throw HostError(EPHOR_UNSUPPORTED, where + ": found " + FirstRelease<Struct>::kName + " of " +
                                         std::to_string(one.struct_size) +
                                         " bytes, expected at least " +
                                         std::to_string(least_size<Struct>));
}

// The description of a plugin: size, and views that can be read. Throws HostError.
void check_info(const std::string& where, const ephor_plugin_info& info);

// What create has filled in: of this many bytes were given. Gives a table without on_events one
// that fails with a message. Throws HostError; the object is the caller's to destroy.
void check_table(const std::string& where, ephor_plugin& table, std::uint32_t given);

// The plugin's checkpoint table; nullptr if it keeps no state. Throws HostError if it is too short
// or not complete.
const ephor_checkpoint* checkpoint_of(const std::string& where, const ephor_plugin& table);

}  // namespace ephor::host
