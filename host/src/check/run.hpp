// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "check/check.hpp"

namespace ephor::host::check {

struct RunOptions {
  std::filesystem::path file;
  std::optional<nlohmann::json> config;
  std::uint64_t seed = 1;
  double timeout_s = 10.0;  // of one check
  unsigned jobs = 1;        // processes at once
};

// Runs each check in a process of its own, at most `jobs` at once, and gives the results in the
// order of `checks`. A process, and all it started, is killed at its time limit; its directory is
// removed. Throws HostError if ephor-checker cannot be found or started.
std::vector<Result> run_checks(const RunOptions& options, const std::vector<const Check*>& checks);

}  // namespace ephor::host::check
