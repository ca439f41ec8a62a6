// SPDX-License-Identifier: Apache-2.0
#include "core/commands.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <thread>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/cli.hpp"
#include "core/config.hpp"
#include "core/control.hpp"
#include "core/crash_note.hpp"
#include "core/export_command.hpp"
#include "core/host.hpp"
#include "core/instance_tables.hpp"
#include "core/logger.hpp"
#include "core/plugin_commands.hpp"
#include "core/plugin_copies.hpp"
#include "core/plugin_gate.hpp"
#include "core/plugin_watch.hpp"
#include "core/replay.hpp"
#include "core/service_manager.hpp"
#include "core/settings.hpp"
#include "core/top.hpp"
#include "core/upkeep_commands.hpp"
#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

void say_alive(ServiceManager& manager, const Host& host) {
  const std::int64_t now_ns = monotonic_ns();
  if (!manager.wants_alive(now_ns)) return;
  // It asks the log and every instance, and waits for no plugin: where a part of the host is stuck
  // it does not come back, and the manager starts another one.
  (void)host.health_json();
  manager.alive(now_ns);
}

int check(const Options& options) {
  if (const auto missing = need_config(options)) return *missing;
  const LoadedSettings loaded = load_settings(options, PluginCode::leave);
  if (!loaded.errors.empty()) return report(loaded.errors);
  std::cout << options.config.string() << ": good; " << loaded.settings.instances.size()
            << " instances\n";
  return kDone;
}

std::string version_of(const LoadedPlugin& plugin) {
  return std::string(to_text(plugin.info->version)) + " (SHA-256 " + plugin.hash.substr(0, 12) +
         ")";
}

// Of instances whose plugin file holds another version than the one that runs.
Json new_versions(const Host& host, const Settings& next) {
  Json out = Json::object();
  for (const auto& instance : host.instances()) {
    const LoadedPlugin& old = instance->plugin();
    for (const InstanceSettings& one : next.instances) {
      if (one.name != instance->name() || one.plugin.file != old.file || one.plugin == old)
        continue;
      out[one.name] = version_of(old) + " -> " + version_of(one.plugin);
    }
  }
  return out;
}

// Throws HostError, and nothing has changed, if the configuration or an instance refuses.
Json reload(const Options& options, Host& host) {
  LoadedSettings loaded = load_settings(options);
  if (!loaded.errors.empty()) {
    std::string text = "reload: the configuration is wrong; nothing was changed";
    for (const ConfigError& error : loaded.errors) text += "\n" + error.text();
    throw HostError(EPHOR_INVALID, text);
  }
  const Json versions = new_versions(host, loaded.settings);
  const Host::ReloadReport report = host.reload(std::move(loaded.settings));
  for (const auto& [name, version] : versions.items()) {
    log(EPHOR_LOG_INFO, name, "new version of the plugin: " + version.get<std::string>());
  }
  return {{"new_versions", versions},      {"restarted", report.restarted},
          {"added", report.added},         {"removed", report.removed},
          {"unchanged", report.unchanged}, {"needs_host_restart", report.needs_host_restart}};
}

void reload_and_log(const Options& options, Host& host) {
  try {
    log(EPHOR_LOG_INFO, kHostName, "reloaded: " + reload(options, host).dump());
  } catch (const HostError& failure) {
    log(EPHOR_LOG_ERROR, kHostName, failure.what());
  }
}

// A file that was only touched changes nothing, and is not worth a line.
void reload_built_again(const Options& options, Host& host, PluginWatch& watch) {
  std::vector<fs::path> files;
  for (const auto& instance : host.instances()) files.push_back(instance->plugin().file);
  watch.follow(files);
  const PluginWatch::Found found = watch.look();
  for (const std::string& problem : found.problems) {
    log(EPHOR_LOG_WARNING, kHostName, "the loaded version runs on: " + problem);
  }
  if (found.changed.empty()) return;
  try {
    const Json report = reload(options, host);
    if (!report["restarted"].empty()) log(EPHOR_LOG_INFO, kHostName, "reloaded: " + report.dump());
  } catch (const HostError& failure) {
    log(EPHOR_LOG_ERROR, kHostName, failure.what());
  }
}

int run(const Options& options) {
  if (const auto missing = need_config(options)) return *missing;
  LoadedSettings loaded = load_settings(options);
  if (!loaded.errors.empty()) return report(loaded.errors);
  catch_stop_signals();
  catch_reload_signal();
  ServiceManager manager;
  loaded.settings.rebuild_storage = options.rebuild;
  Host host(std::move(loaded.settings), RunMode::live);
  const CrashNote crash_note(host.settings().data_dir);
  std::optional<PluginWatch> watch;
  if (options.watch) watch.emplace();
  host.start();
  bool is_clean = false;
  {
    const ControlServer control(host, host.settings().data_dir,
                                [&] { return reload(options, host); });
    const std::string running = "running on " + host.settings().data_dir.string();
    log(EPHOR_LOG_INFO, kHostName, running);
    manager.ready(running);
    while (!should_stop()) {
      say_alive(manager, host);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (take_reload_signal()) reload_and_log(options, host);
      if (watch) reload_built_again(options, host, *watch);
    }
    manager.stopping();
    log(EPHOR_LOG_INFO, kHostName, "stopping");
    is_clean = host.stop();
  }
  log(EPHOR_LOG_INFO, kHostName, is_clean ? "stopped" : "stopped before everything was read");
  if (host.has_hung_threads()) {
    // They may come back into what would be gone. Everything is saved; the process just ends.
    log(EPHOR_LOG_WARNING, kHostName, "a plugin has not given back its thread; ending without it");
    std::fflush(nullptr);
    remove_copies();
    ::_exit(is_clean ? kDone : kFailed);
  }
  return is_clean ? kDone : kFailed;
}

double speed_of(const std::string& text) {
  if (text == "max") return 0.0;
  try {
    std::size_t used = 0;
    const double speed = std::stod(text, &used);
    const bool has_unit = used + 1 == text.size() && text[used] == 'x';
    if ((has_unit || used == text.size()) && speed > 0.0) return speed;
  } catch (const std::exception&) {
  }
  throw HostError(EPHOR_INVALID,
                  "--speed: found " + text + ", expected max or a number such as 10x");
}

int replay_command(const Options& options) {
  if (const auto missing = need_config(options)) return *missing;
  ReplayOptions replaying;
  replaying.speed = speed_of(options.speed);
  replaying.should_stop = should_stop;
  if (!options.until.empty()) {
    const auto until = parse_time(options.until);
    if (!until)
      throw HostError(EPHOR_INVALID, "--until: found " + options.until + ", expected RFC 3339");
    replaying.until_ns = until->ns;
  }
  if (options.journal.empty() == options.arguments.empty() || options.arguments.size() > 1) {
    throw HostError(EPHOR_INVALID, "replay: expected one FILE, or --journal DIR --into NEWDIR");
  }
  if (!options.journal.empty() && options.into.empty()) {
    throw HostError(EPHOR_INVALID, "replay --journal: found no --into NEWDIR, expected one");
  }
  if (!options.arguments.empty()) replaying.file = options.arguments[0];
  replaying.journal = options.journal;
  LoadedSettings loaded = load_settings(options);
  if (!loaded.errors.empty()) return report(loaded.errors);
  if (!replaying.file.empty() && !fs::is_regular_file(replaying.file)) {
    throw HostError(EPHOR_INVALID,
                    replaying.file.string() + ": found no such file, expected NDJSON");
  }
  catch_stop_signals();
  Host host(std::move(loaded.settings), RunMode::replay);
  host.start();
  ReplayResult result;
  try {
    result = replay(host, replaying);
  } catch (const HostError& failure) {  // whatever it is, by now it is no usage error
    throw HostError(EPHOR_IO, failure.what());
  }
  const Json summary = replay_summary(host, result);
  const std::string text = summary.dump(2, ' ', false, Json::error_handler_t::replace);
  if (!options.summary.empty()) {
    std::ofstream out(options.summary);
    out << text << "\n";
    if (!out.flush()) throw HostError(EPHOR_IO, options.summary.string() + ": cannot be written");
  }
  std::cout << text << "\n";
  for (const Rejection& rejection : result.rejections) {
    std::cerr << replaying.file.string() << ":" << rejection.line << " " << rejection.json_pointer
              << ": " << rejection.reason << "\n";
  }
  host.stop();
  return result.was_stopped ? kFailed : kDone;
}

int query_command(const Options& options) {
  if (options.arguments.empty() || options.arguments.size() > 2) {
    throw HostError(EPHOR_INVALID, "query: expected NAME and at most one JSON object");
  }
  const Json request = options.arguments.size() == 2
                           ? Json::parse(options.arguments[1], nullptr, false)
                           : Json::object();
  if (!request.is_object()) {
    throw HostError(EPHOR_INVALID,
                    "query: found " + options.arguments[1] + ", expected a JSON object");
  }
  const auto answer = ask_running_host(
      data_dir_of(options),
      {{"command", "query"}, {"name", options.arguments[0]}, {"request", request}});
  if (answer) {
    print_answer(answer->get<std::string>());
    return kDone;
  }
  if (const auto missing = need_config(options)) return *missing;
  LoadedSettings loaded = load_settings(options);
  if (!loaded.errors.empty()) return report(loaded.errors);
  Host host(std::move(loaded.settings), RunMode::offline);
  host.start();
  print_answer(host.query(options.arguments[0], request.dump()));
  return kDone;
}

int tap(const Options& options) {
  Json request{{"command", "tap"},
               {"pattern", options.arguments.empty() ? std::string(">") : options.arguments[0]}};
  if (options.limit) request["limit"] = *options.limit;
  const fs::path data_dir = data_dir_of(options);
  const auto answer = ask_running_host(data_dir, request, [](const Json& line) {
    std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  });
  if (!answer) throw_no_host(data_dir);
  return kDone;
}

int reload_command(const Options& options) {
  const fs::path data_dir = data_dir_of(options);
  const auto answer = ask_running_host(data_dir, {{"command", "reload"}});
  if (!answer) throw_no_host(data_dir);
  print_answer(answer->dump());
  return kDone;
}

int schema(const Options& options) {
  std::vector<ConfigError> errors;
  const Config config = Config::load(options.config, options.overrides, errors);
  if (!errors.empty()) return report(errors);
  Json out = host_schema();
  const PluginLoader loader(plugin_directories(config.tree()));
  const PluginGate gate(loader, policy_of(config));
  for (const fs::path& file : loader.files()) {
    const LoadedPlugin plugin = gate.describe_file(file);
    Json entry = out["properties"]["plugins"]["additionalProperties"];
    entry["description"] = std::string(to_text(plugin.info->summary));
    entry["properties"]["config"] =
        Json::parse(to_text(plugin.info->config_schema), nullptr, false);
    out["properties"]["plugins"]["properties"][std::string(to_text(plugin.info->id))] = entry;
  }
  std::cout << out.dump(2) << "\n";
  return kDone;
}

// A directory of its own for a plugin's command, which may want storage; removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (fs::temp_directory_path() / "ephor-command-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw HostError(EPHOR_IO, "no temporary directory");
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

int plugin_defined_command(const Options& options) {
  const ScratchDirectory scratch;
  set_log_level(EPHOR_LOG_WARNING);
  Settings settings = default_settings(PluginLoader(plugin_directories(Json::object())));
  settings.data_dir = scratch.path();
  settings.log_level = EPHOR_LOG_WARNING;
  Host host(std::move(settings), RunMode::live);  // made, never started
  const auto command = host.registry().command(options.command);
  if (!command) {
    std::string known;
    for (const CommandEntry& one : host.registry().commands()) known += " " + one.name;
    throw HostError(EPHOR_INVALID, "found command " + options.command +
                                       ", expected one of `ephor --help`" +
                                       (known.empty() ? "" : " or a plugin's:" + known));
  }
  ephor_writer terminal{sizeof(ephor_writer), 0, nullptr,
                        [](void*, ephor_view bytes) -> ephor_status {
                          std::cout << to_text(bytes) << std::flush;
                          return EPHOR_OK;
                        }};
  const std::string arguments = Json(options.arguments).dump();
  command->instance->run_command(*command, to_view(arguments), &terminal);
  return kDone;
}

int dispatch(const Options& options) {
  if (options.command == "run") return run(options);
  if (options.command == "replay") return replay_command(options);
  if (options.command == "check") return check(options);
  if (options.command == "plugin") return plugin_command(options);
  if (options.command == "query") return query_command(options);
  if (options.command == "tap") return tap(options);
  if (options.command == "top") return top_command(options);
  if (options.command == "reload") return reload_command(options);
  if (options.command == "schema") return schema(options);
  if (options.command == "backup") return backup_command(options);
  if (options.command == "restore") return restore_command(options);
  if (options.command == "journal") return journal_command(options);
  if (options.command == "export") return export_command(options);
  if (options.command == "diff") return diff_command(options);
  return plugin_defined_command(options);
}

}  // namespace

int run_command_line(const Options& options) {
  if (options.wants_version) {
    std::cout << "ephor " EPHOR_VERSION "\n";
    return kDone;
  }
  if (options.wants_help || options.command.empty()) {
    (options.wants_help ? std::cout : std::cerr) << usage();
    return options.wants_help ? kDone : kUsage;
  }
  try {
    return dispatch(options);
  } catch (const HostError& failure) {
    std::cerr << "ephor: " << failure.what() << "\n";
    return failure.status() == EPHOR_INVALID ? kUsage : kFailed;
  } catch (const std::exception& failure) {
    std::cerr << "ephor: " << failure.what() << "\n";
    return kFailed;
  }
}

}  // namespace ephor::host
