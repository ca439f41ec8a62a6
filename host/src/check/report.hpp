// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "check/check.hpp"
#include "check/suppressions.hpp"

namespace ephor::host::check {

struct Report {
  std::string file;
  std::string plugin;  // its id, by the file's name
  std::uint64_t seed = 1;
  double seconds = 0.0;
  std::vector<Result> results;
  std::vector<Suppression> unused;

  std::size_t passed() const;
  std::size_t failed() const;  // crashed and timed out too, not the suppressed
  std::size_t skipped() const;
  std::size_t suppressed() const;
};

// What another check already says is skipped, if that one failed in this report; otherwise it
// failed here.
void settle_blocked(std::vector<Result>& results);

std::string human_text(const Report& report, bool has_colour);
std::string json_text(const Report& report);
std::string junit_text(const Report& report);

// What --list prints: "human", "json" or "markdown" (docs/plugin-check.md).
std::string list_text(const std::vector<const Check*>& checks, std::string_view format);

}  // namespace ephor::host::check
