// SPDX-License-Identifier: Apache-2.0
//
// Which plugin files may be loaded: listed ones (`plugins.allow`), and only those that nobody but
// their owner can change.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.hpp"

namespace ephor::host {

// SHA-256 of a plugin file, 64 hexadecimal digits in lower case.
using Sha256 = std::string;

struct PluginPolicy {
  struct AllowList {
    std::vector<Sha256> hashes;
    std::string place;  // file:line:column
  };
  std::optional<AllowList> allow;  // none: every file
  bool may_be_writable = false;    // allow_writable_plugins
};

// Of `plugins.allow` and `allow_writable_plugins`; what is of a wrong type is the schema's to
// report.
PluginPolicy policy_of(const Config& config);

// Of all bytes of an open file, from its start. Throws HostError EPHOR_IO. About 0.6 ms per MiB.
Sha256 sha256_of(int descriptor, const std::filesystem::path& file);

// Throws HostError EPHOR_DENIED naming the file, its hash and the list's place.
void check_allowed(const PluginPolicy& policy, const std::filesystem::path& file,
                   const Sha256& hash);

// Throws HostError EPHOR_DENIED if somebody other than root and the user of this process can change
// the open `file`, or put another one in its place: they own it or a directory or link on the way
// to it, or have the right to write there. In a directory with the sticky bit, such as /tmp, only
// the owner of an entry can replace it. A group counts as nobody else if it is root's, or the
// user's own: the primary one, named like the user, with no other member. Says which path, owner
// and mode, and what to do.
void check_not_writable(const PluginPolicy& policy, int descriptor,
                        const std::filesystem::path& file);

}  // namespace ephor::host
