// SPDX-License-Identifier: Apache-2.0
//
// The configuration, checked and typed: the host's own keys and every instance with its plugin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config.hpp"
#include "core/event_log.hpp"
#include "core/instance_settings.hpp"
#include "core/plugin_gate.hpp"
#include "core/plugin_loader.hpp"
#include "core/retention.hpp"
#include "ingest/ingest_config.hpp"
#include "store/journal.hpp"

namespace ephor::host {

struct Settings {
  std::filesystem::path data_dir;
  std::int32_t log_level = 2;
  std::string database_url;
  Durability storage_durability = Durability::normal;
  Durability journal_durability = Durability::full;
  RetentionSettings retention;
  bool rebuild_storage = false;  // `ephor run --rebuild`
  IngestConfig ingest;
  EventLogOptions log;
  std::size_t bus_bytes = 0;
  std::size_t dispatch_threads = 0;
  std::int64_t checkpoint_every_ns = 0;
  std::int64_t idle_flush_ns = 0;
  std::int64_t drain_timeout_ns = 0;
  std::vector<InstanceSettings> instances;  // sorted by name, sources last
  nlohmann::json host_keys;                 // the tree without its plugins: what a reload compares
};

// JSON Schema of the host's own configuration; a plugin's instance under `plugins` has `config`.
const nlohmann::json& host_schema();

// Every fault in the configuration, the plugins and their sections is added to `errors`. Fills the
// defaults into `config`. Instances of disabled entries are left out. No plugin's code runs in this
// process: its instances are described only, until load_plugins.
Settings read_settings(Config& config, const PluginLoader& loader,
                       std::vector<ConfigError>& errors);

// Loads what read_settings described. One that cannot be loaded is added to `errors` and left out.
void load_plugins(Settings& settings, const Config& config, const PluginLoader& loader,
                  const CopyRule& rule, std::vector<ConfigError>& errors);

// One instance of each plugin file with default configuration, loaded, for commands without a file.
Settings default_settings(const PluginLoader& loader);

// Where plugins are looked for: `plugin_path`, EPHOR_PLUGIN_PATH, lib/ephor/plugins beside the
// program.
std::vector<std::filesystem::path> plugin_directories(const nlohmann::json& config);

}  // namespace ephor::host
