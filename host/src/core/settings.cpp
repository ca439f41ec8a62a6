// SPDX-License-Identifier: Apache-2.0
#include "core/settings.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "core/logger.hpp"
#include "core/schema.hpp"
#include "event/error.hpp"
#include "ingest/json_text.hpp"
#include "isolation/child_process.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kSecondNs = 1'000'000'000;

constexpr const char* kHostSchema = R"json({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Ephor configuration",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "data_dir": {"type": "string", "default": "data", "minLength": 1,
      "description": "Journal, storage, reports and the control socket; relative to the current directory."},
    "plugin_path": {"type": "array", "items": {"type": "string"}, "default": [],
      "description": "Directories to look for plugins in, before the built-in one."},
    "allow_writable_plugins": {"type": "boolean", "default": false,
      "description": "Load plugin files that others than root and the user who runs could change."},
    "log": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "level": {"enum": ["trace", "debug", "info", "warning", "error"], "default": "info",
        "description": "The least level that is written to standard error."}}},
    "database": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "url": {"type": "string", "default": "sqlite:",
        "description": "sqlite: is DATA_DIR/ephor.db; postgresql://user@host/name puts rows and states there."},
      "durability": {"enum": ["full", "normal", "off"], "default": "normal",
        "description": "What saved rows survive; what is lost is derived again from the journal."}}},
    "journal": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "durability": {"enum": ["full", "normal", "off"], "default": "full",
        "description": "What an acknowledged event survives: full a power cut, normal a killed process."},
      "retention": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
        "max_age_days": {"type": "number", "minimum": 0, "default": 0,
          "description": "How long after its arrival a batch is kept; 0: for ever."},
        "max_bytes": {"type": "integer", "minimum": 0, "default": 0,
          "description": "Stored bytes of the batches that are kept; the oldest go first; 0: any number."},
        "keep_unread": {"type": "boolean", "default": true,
          "description": "Keep what a configured plugin has not read and saved, however old or large."}}}}},
    "ingest": {"type": "object", "default": {}, "additionalProperties": false, "properties": {
      "assume_timezone": {"type": "string", "default": "UTC",
        "description": "Offset of times that name no zone: UTC or +hh:mm."},
      "future_skew_s": {"type": "number", "minimum": 0, "default": 300,
        "description": "How far ahead of its arrival an event's time may be; later times are clamped."},
      "depth_max": {"type": "integer", "minimum": 4, "maximum": 1000, "default": 64,
        "description": "Nesting of one record."},
      "record_bytes_max": {"type": "integer", "minimum": 1024, "maximum": 67108864, "default": 1048576,
        "description": "Size of one record."},
      "join_attributes": {"type": "array", "items": {"type": "string"}, "default": ["prediction_id"],
        "description": "Further data members whose text joins events; what is given replaces the default."},
      "otlp": {"type": "object", "default": {}, "additionalProperties": false, "properties": {
        "attributes_max": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1024,
          "description": "Attributes of one span, event, link, resource or map; more: the span is rejected."},
        "fields_max": {"type": "integer", "minimum": 100, "maximum": 100000000, "default": 20000,
          "description": "Protobuf fields of one span with all that is in it."},
        "text_bytes_max": {"type": "integer", "minimum": 64, "maximum": 67108864, "default": 262144,
          "description": "One name, key, text or bytes value."},
        "source_bytes_max": {"type": "integer", "minimum": 256, "maximum": 65536, "default": 8192,
          "description": "A resource with its scope, as text; of a longer one only what identifies the service is kept."},
        "sources_max": {"type": "integer", "minimum": 16, "maximum": 500000, "default": 10000,
          "description": "How many different resources with scope are kept whole in one run; see docs/events.md."},
        "source_memory_bytes": {"type": "integer", "minimum": 65536, "maximum": 1073741824, "default": 16777216,
          "description": "Their texts in all."}}},
      "bare_records": {"type": "object", "default": {},
        "description": "How the client's bare records become events; replaces single types of the default table."},
      "dedup_window": {"type": "integer", "minimum": 1000, "maximum": 100000000, "default": 2000000,
        "description": "How many events back a duplicate is recognised."}}},
    "log_time": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "allowed_lateness_s": {"type": "number", "minimum": 0, "default": 600,
        "description": "How far behind its source's newest event an event may come without being late."},
      "idle_after_s": {"type": "number", "minimum": 1, "default": 1800,
        "description": "A source this far behind the newest event holds nothing back any more."},
      "idle_flush_s": {"type": "number", "minimum": 0.1, "default": 10,
        "description": "Silence on the wall clock after which what waits is released."}}},
    "bus": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "bytes_max": {"type": "integer", "minimum": 1048576, "default": 8388608,
        "description": "Memory of the live ring; slower readers go on from the journal."},
      "dispatch_threads": {"type": "integer", "minimum": 0, "maximum": 256, "default": 0,
        "description": "Threads that deliver events; 0: one a core."}}},
    "checkpoint": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "interval_s": {"type": "number", "minimum": 0.05, "default": 5,
        "description": "How often rows, states and positions are saved."}}},
    "shutdown": {"type": "object", "additionalProperties": false, "default": {}, "properties": {
      "drain_timeout_s": {"type": "number", "minimum": 0.1, "default": 20,
        "description": "How long a stop waits for readers to finish."}}},
    "monitoring": {"type": "object", "default": {},
      "description": "The user's plan, section by section; plugins take their keys from it."},
    "plugins": {"type": "object", "default": {},
      "description": "Instances by name, and allow.",
      "properties": {"allow": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
        "description": "SHA-256 of every plugin file that may be loaded; without it, any may."}},
      "additionalProperties": {"type": ["object", "null"], "additionalProperties": false, "properties": {
        "plugin": {"type": "string", "minLength": 1, "description": "Plugin id; default: the instance's name."},
        "enabled": {"type": "boolean", "default": true},
        "isolation": {"enum": ["in_process", "process"], "default": "in_process",
          "description": "process: the plugin runs in a child of its own, which may crash alone."},
        "limits": {"type": "object", "additionalProperties": false, "default": {},
          "description": "Of a process of its own; 0: none.", "properties": {
          "memory_mb": {"type": "number", "minimum": 0, "default": 0,
            "description": "Resident memory; above it the process is ended and started anew."},
          "open_files": {"type": "integer", "minimum": 0, "default": 0}}},
        "config": {"type": "object", "default": {}}}}}
  }
})json";

constexpr const char* kFaultsSchema = R"json({
  "type": "object", "additionalProperties": false, "default": {},
  "description": "What a plugin may get wrong; `faults` of a plugin wins over the common one.",
  "properties": {
    "attempts": {"type": "integer", "minimum": 1, "maximum": 100, "default": 3,
      "description": "How often an event that a plugin fails on is tried alone before it is skipped (ephor.deadletter)."},
    "budget": {"type": "integer", "minimum": 0, "default": 20,
      "description": "Failures within the window; one more leads to quarantine."},
    "window_s": {"type": "number", "minimum": 0.1, "default": 60},
    "restart_backoff_s": {"type": "number", "minimum": 0.01, "default": 0.5,
      "description": "Before the first restart from quarantine or of a process; then doubled."},
    "restart_backoff_max_s": {"type": "number", "minimum": 0.01, "default": 60},
    "restarts_max": {"type": "integer", "minimum": 0, "default": 8,
      "description": "Restarts from quarantine in a row; then the plugin stays there until it is released."},
    "soft_limit_s": {"type": "number", "minimum": 0, "default": 5,
      "description": "A call that lasts longer makes the plugin degraded and its stack is logged; 0: never."},
    "hard_limit_s": {"type": "number", "minimum": 0, "default": 60,
      "description": "A call that lasts longer leads to quarantine, or ends the plugin's own process; 0: never."}}})json";

Durability durability_of(const std::string& text) {
  if (text == "normal") return Durability::normal;
  return text == "off" ? Durability::off : Durability::full;
}

std::int32_t level_of(const std::string& text) {
  static constexpr const char* kLevels[] = {"trace", "debug", "info", "warning", "error"};
  for (std::int32_t level = 0; level < 5; ++level) {
    if (text == kLevels[level]) return level;
  }
  return EPHOR_LOG_INFO;
}

// More than thirty years is for ever, and stays clear of where sums overflow.
std::int64_t ns_of(const Json& seconds) {
  const double bounded = std::min(seconds.get<double>(), 1e9);
  return static_cast<std::int64_t>(bounded * static_cast<double>(kSecondNs));
}

// A property of a plugin's schema with "x-ephor-from": "monitoring.SECTION.KEY".
struct Claim {
  std::string property;
  std::string section;
  std::string key;
  Json schema;
};

std::vector<Claim> claims_of(const Json& schema) {
  std::vector<Claim> out;
  const auto properties = schema.find("properties");
  if (properties == schema.end()) return out;
  for (const auto& [name, property] : properties->items()) {
    if (!property.is_object() || !property.contains("x-ephor-from")) continue;
    std::istringstream words(property["x-ephor-from"].get<std::string>());
    Claim claim{name, {}, {}, property};
    std::string root;
    std::getline(words, root, '.');
    std::getline(words, claim.section, '.');
    std::getline(words, claim.key);
    if (root == "monitoring" && !claim.key.empty()) out.push_back(std::move(claim));
  }
  return out;
}

class SettingsReader {
 public:
  SettingsReader(Config& config, const PluginLoader& loader, std::vector<ConfigError>& errors)
      : config_(config), loader_(loader), gate_(loader, policy_of(config)), errors_(errors) {}

  Settings read() {
    check_allow();
    check("", host_schema(), config_.tree());
    Settings out;
    if (errors_.empty()) fill(out);
    if (config_.tree().contains("plugins") && config_.tree()["plugins"].is_object()) {
      for (auto& [name, entry] : config_.tree()["plugins"].items()) {
        if (name != "allow") read_instance(name, entry, out);
      }
    }
    check_monitoring();
    std::stable_sort(out.instances.begin(), out.instances.end(), [](const auto& a, const auto& b) {
      const auto is_source = [](const InstanceSettings& one) {
        return (one.plugin.info->capabilities & EPHOR_CAP_SOURCE) != 0;
      };
      return is_source(a) < is_source(b);
    });
    out.host_keys = config_.tree();
    for (const char* key : {"plugins", "monitoring", "faults"}) out.host_keys.erase(key);
    return out;
  }

 private:
  void check(const std::string& pointer, const Json& schema, Json& value) {
    std::vector<SchemaError> found;
    apply_schema(schema, value, pointer, found);
    for (const SchemaError& error : found)
      errors_.push_back(config_.error_at(error.pointer, error.message));
  }

  void check_allow() {
    Json& tree = config_.tree();
    if (!tree.contains("plugins") || !tree["plugins"].is_object()) return;
    const auto allow = tree["plugins"].find("allow");
    if (allow == tree["plugins"].end() || allow->is_array()) return;
    errors_.push_back(config_.error_at(
        "/plugins/allow", std::string("found ") + allow->type_name() +
                              ", expected a list of SHA-256 hashes of plugin files: no instance "
                              "can be called allow"));
    tree["plugins"].erase(allow);
  }

  void fill(Settings& out) {
    const Json& tree = config_.tree();
    out.data_dir = tree["data_dir"].get<std::string>();
    out.log_level = level_of(tree["log"]["level"]);
    out.database_url = tree["database"]["url"];
    if (out.database_url == "sqlite:" || out.database_url == "sqlite") out.database_url.clear();
    if (!out.database_url.empty() && !out.database_url.starts_with("postgresql:")) {
      errors_.push_back(config_.error_at(
          "/database/url",
          "found " + tree["database"]["url"].dump() + ", expected sqlite: or postgresql://..."));
    }
    out.storage_durability = durability_of(tree["database"]["durability"]);
    out.journal_durability = durability_of(tree["journal"]["durability"]);
    const Json& retention = tree["journal"]["retention"];
    out.retention = {retention["max_age_days"], retention["max_bytes"], retention["keep_unread"]};
    out.log.dedup_window = tree["ingest"]["dedup_window"];
    out.log.log_time = {ns_of(tree["log_time"]["allowed_lateness_s"]),
                        std::max(ns_of(tree["log_time"]["idle_after_s"]),
                                 ns_of(tree["log_time"]["allowed_lateness_s"]) + kSecondNs)};
    out.idle_flush_ns = ns_of(tree["log_time"]["idle_flush_s"]);
    out.bus_bytes = tree["bus"]["bytes_max"];
    out.dispatch_threads = tree["bus"]["dispatch_threads"];
    if (out.dispatch_threads == 0) {
      out.dispatch_threads = std::max(1U, std::thread::hardware_concurrency());
    }
    out.checkpoint_every_ns = ns_of(tree["checkpoint"]["interval_s"]);
    out.drain_timeout_ns = ns_of(tree["shutdown"]["drain_timeout_s"]);
    Json ingest = tree["ingest"];
    ingest.erase("dedup_window");
    try {
      out.ingest = ingest_config(ingest, "ingest");
    } catch (const HostError& failure) {
      std::istringstream lines(failure.what());
      for (std::string line; std::getline(lines, line);) add_ingest_error(line);
    }
  }

  // `line`: "ingest.KEY...: found, expected"
  void add_ingest_error(const std::string& line) {
    std::string pointer = "/ingest";
    if (line.starts_with("ingest.")) {
      append_pointer_token(pointer,
                           std::string_view(line).substr(7, line.find_first_of(".:", 7) - 7));
    }
    const ConfigError error = config_.error_at(pointer, line);
    errors_.push_back({error.place, "", error.message});
  }

  void read_instance(const std::string& name, Json& entry, Settings& out) {
    if (entry.is_null()) entry = Json::object();
    if (!entry.is_object()) return;
    const auto enabled = entry.find("enabled");
    const auto plugin = entry.find("plugin");
    if (enabled != entry.end() && (!enabled->is_boolean() || !enabled->get<bool>())) return;
    if (plugin != entry.end() && !plugin->is_string()) return;
    if (entry.contains("config") && !entry["config"].is_object() && !entry["config"].is_null())
      return;
    std::string pointer = "/plugins";
    append_pointer_token(pointer, name);
    const std::string id = entry.value("plugin", name);
    InstanceSettings made;
    made.name = name;
    read_isolation(entry, made);
    made.faults = faults_of(config_.tree().value("faults", Json()), entry.value("faults", Json()));
    try {
      made.plugin = gate_.describe(id);
      if (made.isolation == Isolation::process)
        isolation::runner_file();  // throws if there is none
      const Json schema = Json::parse(to_text(made.plugin.info->config_schema));
      Json& config = entry["config"];
      if (config.is_null()) config = Json::object();
      take_from_monitoring(pointer, schema, config);
      check(pointer + "/config", schema, config);
      made.config_json = config.dump();
    } catch (const HostError& failure) {
      errors_.push_back(config_.error_at(pointer, failure.what()));
      return;
    } catch (const Json::exception& failure) {
      errors_.push_back(config_.error_at(
          pointer, "plugin " + id + ": its configuration schema is broken: " + failure.what()));
      return;
    }
    out.instances.push_back(std::move(made));
  }

  // `own` wins over `common` key by key. What is of a wrong type has been reported.
  static FaultSettings faults_of(const Json& common, const Json& own) {
    const auto number = [&](const char* key, double otherwise) {
      for (const Json* from : {&own, &common}) {
        if (from->is_object() && from->contains(key) && from->at(key).is_number()) {
          return from->at(key).get<double>();
        }
      }
      return otherwise;
    };
    const auto count = [&](const char* key, std::uint32_t otherwise) {
      return static_cast<std::uint32_t>(std::clamp(number(key, otherwise), 0.0, 4e9));
    };
    const auto ns = [&](const char* key, std::int64_t otherwise_ns) {
      const double otherwise = static_cast<double>(otherwise_ns) / static_cast<double>(kSecondNs);
      return static_cast<std::int64_t>(number(key, otherwise) * static_cast<double>(kSecondNs));
    };
    FaultSettings out;
    out.attempts = std::max(1U, count("attempts", out.attempts));
    out.budget = count("budget", out.budget);
    out.window_ns = ns("window_s", out.window_ns);
    out.backoff_ns = ns("restart_backoff_s", out.backoff_ns);
    out.backoff_max_ns = ns("restart_backoff_max_s", out.backoff_max_ns);
    out.restarts_max = count("restarts_max", out.restarts_max);
    out.soft_limit_ns = ns("soft_limit_s", out.soft_limit_ns);
    out.hard_limit_ns = ns("hard_limit_s", out.hard_limit_ns);
    return out;
  }

  // What is of a wrong type has been reported.
  static void read_isolation(const Json& entry, InstanceSettings& made) {
    if (entry.value("isolation", Json()) == "process") made.isolation = Isolation::process;
    const Json limits = entry.value("limits", Json::object());
    const Json memory_mb = limits.is_object() ? limits.value("memory_mb", Json()) : Json();
    if (memory_mb.is_number() && memory_mb > 0) {
      const double bytes = std::min(memory_mb.get<double>() * 1048576.0, 0x1p62);
      made.limits.memory_bytes = static_cast<std::uint64_t>(bytes);
    }
    const Json files = limits.is_object() ? limits.value("open_files", Json()) : Json();
    if (files.is_number_integer() && files >= 0) {
      made.limits.open_files =
          static_cast<std::uint32_t>(std::min<std::int64_t>(files.get<std::int64_t>(), INT32_MAX));
    }
  }

  // A claimed key of the user's block is taken unless the instance's own configuration has it.
  void take_from_monitoring(const std::string& pointer, const Json& schema, Json& config) {
    for (const Claim& claim : claims_of(schema)) {
      add_claim(claim);
      const Json::json_pointer at("/monitoring/" + claim.section + "/" + claim.key);
      if (config.contains(claim.property) || !config_.tree().contains(at)) continue;
      // Checked here, so that an error names the line the user wrote; a bad value is not taken.
      const std::size_t errors = errors_.size();
      Json value = config_.tree()[at];
      check(at.to_string(), claim.schema, value);
      if (errors_.size() != errors) continue;
      config[claim.property] = std::move(value);
      std::string taken = pointer + "/config";
      append_pointer_token(taken, claim.property);
      config_.note_copy(at.to_string(), taken);
    }
  }

  void add_claim(const Claim& claim) {
    Json& section = claimed_["properties"][claim.section];
    if (section.is_null()) section = {{"type", "object"}, {"additionalProperties", false}};
    section["properties"][claim.key] = Json::object();
  }

  // A key of the user's block that no plugin knows is an error. One that only a plugin which is not
  // configured would take is none: the other plugins are looked at for that, and only then.
  void check_monitoring() {
    Json block = config_.tree().value("monitoring", Json::object());
    if (!block.is_object()) return;
    std::vector<SchemaError> found;
    apply_schema(claimed_, block, "/monitoring", found);
    if (found.empty()) return;
    for (const fs::path& file : loader_.files()) {
      try {
        const LoadedPlugin plugin = gate_.describe_file(file);
        const Json schema = Json::parse(to_text(plugin.info->config_schema));
        for (const Claim& claim : claims_of(schema)) add_claim(claim);
      } catch (const std::exception&) {
        continue;  // a broken file is reported where it is configured
      }
    }
    check("/monitoring", claimed_, block);
  }

  Config& config_;
  const PluginLoader& loader_;
  const PluginGate gate_;
  Json claimed_{{"type", "object"}, {"additionalProperties", false}};
  std::vector<ConfigError>& errors_;
};

}  // namespace

const Json& host_schema() {
  static const Json kSchema = [] {
    Json schema = Json::parse(kHostSchema);
    const Json faults = Json::parse(kFaultsSchema);
    schema["properties"]["faults"] = faults;
    // A plugin's own has no defaults: what it does not say is the common one's.
    Json& own = schema["properties"]["plugins"]["additionalProperties"]["properties"]["faults"];
    own = faults;
    own.erase("default");
    for (auto& [unused, property] : own["properties"].items()) property.erase("default");
    return schema;
  }();
  return kSchema;
}

Settings read_settings(Config& config, const PluginLoader& loader,
                       std::vector<ConfigError>& errors) {
  return SettingsReader(config, loader, errors).read();
}

void load_plugins(Settings& settings, const Config& config, const PluginLoader& loader,
                  const CopyRule& rule, std::vector<ConfigError>& errors) {
  const PluginGate gate(loader, policy_of(config));
  std::erase_if(settings.instances, [&](InstanceSettings& one) {
    try {
      one.plugin = gate.load(one.plugin, one.isolation, rule);
      return false;
    } catch (const HostError& failure) {
      std::string pointer = "/plugins";
      append_pointer_token(pointer, one.name);
      errors.push_back(config.error_at(pointer, failure.what()));
      return true;
    }
  });
}

Settings default_settings(const PluginLoader& loader) {
  std::vector<ConfigError> errors;
  Config config = Config::load({}, {}, errors);
  for (const fs::path& file : loader.files()) {
    config.tree()["plugins"][file.stem().string()] = Json::object();
  }
  Settings out = read_settings(config, loader, errors);
  load_plugins(out, config, loader, {}, errors);
  for (const ConfigError& error : errors) log(EPHOR_LOG_WARNING, kHostName, error.text());
  return out;
}

std::vector<fs::path> plugin_directories(const Json& config) {
  std::vector<fs::path> out;
  if (const auto paths = config.find("plugin_path"); paths != config.end() && paths->is_array()) {
    for (const Json& path : *paths) {
      if (path.is_string()) out.emplace_back(path.get<std::string>());
    }
  }
  if (const char* paths = std::getenv("EPHOR_PLUGIN_PATH")) {
    std::istringstream list(paths);
    for (std::string path; std::getline(list, path, ':');) {
      if (!path.empty()) out.emplace_back(path);
    }
  }
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty()) out.push_back(program.parent_path().parent_path() / "lib/ephor/plugins");
  return out;
}

}  // namespace ephor::host
