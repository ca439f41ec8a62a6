// SPDX-License-Identifier: Apache-2.0
//
// A recorded session through the same door, log and plugins as live, in rounds: a batch to every
// reader, a barrier, then what they derived, ordered by cause and instance, until nothing more
// comes. Two replays of one file into two empty directories write the same journal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/host.hpp"

namespace ephor::host {

struct ReplayOptions {
  std::filesystem::path file;            // NDJSON, plain or gzip; or
  std::filesystem::path journal;         // another host's data directory
  double speed = 0.0;                    // times log time; 0: as fast as possible
  std::optional<std::int64_t> until_ns;  // records with a later time are left out
  std::function<bool()> should_stop;     // looked at between rounds
};

struct ReplayResult {
  std::uint64_t applied = 0;     // records
  std::uint64_t duplicates = 0;  // records
  std::uint64_t rejected = 0;    // records
  std::uint64_t events = 0;
  std::uint64_t left_out = 0;  // after `until`
  double seconds = 0.0;        // wall, from the first byte to the last row saved; without start-up
  double cpu_seconds = 0.0;    // of the process, over the same span
  bool was_stopped = false;
  std::vector<Rejection> rejections;  // the first hundred
};

// `host` was made in replay mode and started. Throws HostError.
ReplayResult replay(Host& host, const ReplayOptions& options);

// The run's figures, and the store's from every query named "*.summary"; findings are joined.
nlohmann::json replay_summary(Host& host, const ReplayResult& result);

}  // namespace ephor::host
