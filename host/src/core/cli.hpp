// SPDX-License-Identifier: Apache-2.0
//
// What the commands of the command line share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.hpp"
#include "core/options.hpp"
#include "core/settings.hpp"

namespace ephor::host {

// Exit codes.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// SIGINT and SIGTERM are counted from now on; the second one ends the process at once. SIGPIPE and
// SIGXFSZ are ignored.
void catch_stop_signals();
bool should_stop();
// SIGHUP is noted from now on; true once for each.
void catch_reload_signal();
bool take_reload_signal();

// The configuration with --set and --data-dir applied, and all that is wrong with it.
struct LoadedSettings {
  Config config;
  Settings settings;
  std::vector<ConfigError> errors;
};
enum class PluginCode { run, leave };
// With PluginCode::leave no plugin is loaded: enough to check a configuration.
LoadedSettings load_settings(const Options& options, PluginCode code = PluginCode::run);

// Prints the errors; kUsage.
int report(const std::vector<ConfigError>& errors);
// kUsage, and says so, if the command line names no configuration.
std::optional<int> need_config(const Options& options);

// --data-dir, or that of the configuration, or "data".
std::filesystem::path data_dir_of(const Options& options);

// JSON is indented, other text printed as it is.
void print_answer(const std::string& text);

[[noreturn]] void throw_no_host(const std::filesystem::path& data_dir);

}  // namespace ephor::host
