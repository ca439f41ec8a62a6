// SPDX-License-Identifier: Apache-2.0
#include "core/cli.hpp"

#include <ephor/abi.h>

#include <atomic>
#include <csignal>
#include <iostream>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/plugin_loader.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::atomic<int> stop_signals{0};
std::atomic<bool> has_reload_signal{false};

void on_stop_signal(int) {
  // The second one stops hard: no destructor, no drain; the journal makes that safe.
  if (stop_signals.fetch_add(1) + 1 >= 2) ::_exit(kFailed);
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is a failed write, like a full disk
}

bool should_stop() { return stop_signals.load() != 0; }

void catch_reload_signal() {
  struct sigaction action {};
  action.sa_handler = [](int) { has_reload_signal.store(true); };
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGHUP, &action, nullptr);
}

bool take_reload_signal() { return has_reload_signal.exchange(false); }

LoadedSettings load_settings(const Options& options, PluginCode code) {
  LoadedSettings out;
  std::vector<std::string> overrides = options.overrides;
  if (options.data_dir) {
    overrides.push_back("data_dir=" + Json(options.data_dir->string()).dump());
  }
  out.config = Config::load(options.config, overrides, out.errors);
  const PluginLoader loader(plugin_directories(out.config.tree()));
  out.settings = read_settings(out.config, loader, out.errors);
  if (code == PluginCode::leave || !out.errors.empty()) return out;
  CopyRule rule;
  // A command that only looks leaves nothing in the data.
  if (options.command == "run" || options.command == "replay") rule.parent = out.settings.data_dir;
  if (options.watch) rule.when = CopyWhen::always;
  load_plugins(out.settings, out.config, loader, rule, out.errors);
  return out;
}

int report(const std::vector<ConfigError>& errors) {
  for (const ConfigError& error : errors) std::cerr << "ephor: " << error.text() << "\n";
  return kUsage;
}

std::optional<int> need_config(const Options& options) {
  if (!options.config.empty()) return std::nullopt;
  std::cerr << "ephor " << options.command << ": found no --config FILE, expected one\n";
  return kUsage;
}

fs::path data_dir_of(const Options& options) {
  if (options.data_dir) return *options.data_dir;
  if (options.config.empty()) return "data";
  std::vector<ConfigError> ignored;
  const Config config = Config::load(options.config, options.overrides, ignored);
  return config.tree().value("data_dir", std::string("data"));
}

void print_answer(const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, false);
  std::cout << (parsed.is_discarded() ? text : parsed.dump(2)) << "\n";
}

void throw_no_host(const fs::path& data_dir) {
  throw HostError(EPHOR_STATE, "no host runs on " + data_dir.string());
}

}  // namespace ephor::host
