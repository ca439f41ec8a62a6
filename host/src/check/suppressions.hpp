// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "check/check.hpp"

namespace ephor::host::check {

// A failure that somebody knows of and gives a reason for.
struct Suppression {
  std::string check;   // a name, or a pattern with * and ?
  std::string plugin;  // its id, or such a pattern
  std::string reason;
  bool is_used = false;
};

// From a YAML or JSON file: suppressions: [{check, plugin, reason}]. Throws HostError EPHOR_INVALID
// with the place of everything that is wrong: a reason is never optional.
std::vector<Suppression> read_suppressions(const std::filesystem::path& file);

// True if `name` matches one of the patterns (a name, or with * and ?).
bool matches(const std::string& name, const std::vector<std::string>& patterns);

// Marks what failed and is suppressed for this plugin.
void apply(std::vector<Suppression>& suppressions, const std::string& plugin,
           std::vector<Result>& results);

}  // namespace ephor::host::check
