// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ephor::host {

// The command line, as typed.
struct Options {
  std::string command;                 // "run", "replay", ... or a plugin's own
  std::vector<std::string> arguments;  // positional ones behind it; of a plugin's command: all
  std::filesystem::path config;
  std::vector<std::string> overrides;  // --set, and --data-dir as one
  std::optional<std::filesystem::path> data_dir;
  std::filesystem::path journal;
  std::filesystem::path into;
  std::filesystem::path summary;
  std::string speed = "max";
  std::string until;
  std::optional<std::uint64_t> limit;
  std::filesystem::path out;
  bool is_canonical = false;
  double interval_s = 1.0;
  bool once = false;
  bool json = false;  // figures for programs
  std::string from;   // journal export: a sequence or an RFC 3339 time
  std::string to;
  std::string topic;
  bool raw = false;              // journal export: also what the host and its plugins made
  bool rebuild = false;          // run: derive the storage again
  bool watch = false;            // run: load plugin files anew when they change
  std::string language = "c++";  // plugin new
  bool wants_help = false;
  bool wants_version = false;
};

// Throws HostError EPHOR_INVALID: what was found, what was expected.
Options read_options(int argument_count, const char* const* arguments);

// What `ephor --help` prints.
std::string usage();

// The commands of the host itself; others are looked for among the plugins.
bool is_host_command(const std::string& name);

}  // namespace ephor::host
