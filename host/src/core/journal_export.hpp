// SPDX-License-Identifier: Apache-2.0
//
// The journal as NDJSON that another host takes, and the figures of what it holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace ephor::host {

struct ExportOptions {
  std::uint64_t from_sequence = 0;
  std::uint64_t to_sequence = UINT64_MAX;  // it too
  std::int64_t from_ns = INT64_MIN;
  std::int64_t to_ns = INT64_MAX;  // not it
  std::string topic = ">";
  bool raw = false;  // also what the host and its plugins made
};

struct ExportCounts {
  std::uint64_t exported = 0;
  std::uint64_t own = 0;      // left out: of the host, derived, or brought in by a plugin itself
  std::uint64_t damaged = 0;  // batches that could not be read
};

// One line per record, in the order of the log. A record without a time, or whose time the door had
// to judge, carries the log's time, so that it means the same wherever it arrives next. Read-only,
// beside a running host or without one. HostError.
ExportCounts export_journal(const std::filesystem::path& data_dir, const ExportOptions& options,
                            const std::function<void(std::string_view line)>& write);

// Batches, events, bytes, times, and events by topic, source and day. Reads every batch.
nlohmann::json journal_figures(const std::filesystem::path& data_dir);

// Every fault of the journal and what was read whole; see check_journal.
nlohmann::json journal_faults(const std::filesystem::path& data_dir);

}  // namespace ephor::host
