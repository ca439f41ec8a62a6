// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_commands.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "check/command.hpp"
#include "core/cli.hpp"
#include "core/config.hpp"
#include "core/control.hpp"
#include "core/plugin_gate.hpp"
#include "core/plugin_loader.hpp"
#include "core/plugin_note.hpp"
#include "core/plugin_policy.hpp"
#include "core/plugin_scaffold.hpp"
#include "core/settings.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

int list(const Options& options);
int inspect(const Options& options);
int check_plugin(const Options& options);
int release(const Options& options);

// `run` gets the command line with the verb as arguments[0].
struct Verb {
  std::string_view name;
  int (*run)(const Options& options);
  std::string_view usage;
  std::string_view summary;
};

constexpr Verb kVerbs[] = {
    {"list", list, "plugin list", "what plugins there are"},
    {"inspect", inspect, "plugin inspect NAME|FILE.so", "what one says of itself"},
    {"new", plugin_new_command, "plugin new NAME [--lang c++|c]",
     "a project of a plugin of one's own"},
    {"check", check_plugin, "plugin check FILE.so|NAME [--list]",
     "check a plugin thoroughly, without a host"},
    {"release", release, "plugin release NAME", "lift the quarantine of an instance"},
};

// What the file is to this host, and why not.
struct Verdict {
  std::string state;  // "ok", "no note", "refused"
  std::string reason;
};

Verdict verdict_on(const PluginGate& gate, const OpenedFile& opened, const fs::path& file,
                   const LibraryFacts& facts) {
  try {
    gate.admit(opened.descriptor(), file);
    for (const PluginNote& note : facts.notes) check_fits(file, note);
  } catch (const HostError& failure) {
    return {"refused", failure.what()};
  }
  if (!facts.notes.empty()) return {"ok", {}};
  if (facts.has_entry.value_or(true)) return {"no note", {}};
  return {"refused",
          file.string() + ": found no symbol " EPHOR_ENTRY_SYMBOL " in it, expected a plugin"};
}

Json note_facts(const PluginNote& note) {
  Json out{{"id", note.id},
           {"version", note.version},
           {"summary", note.summary},
           {"abi", std::to_string(note.abi_major) + "." + std::to_string(note.abi_minor)},
           {"abi_minor_required", note.abi_minor_required},
           {"is_source", (note.capabilities & EPHOR_CAP_SOURCE) != 0},
           {"required_extensions", note.required_extensions},
           {"sdk", note.sdk}};
  if (!note.license.empty()) out["license"] = note.license;
  if (note.config_schema) out["config_schema"] = Json::parse(*note.config_schema);
  return out;
}

// One that has no note, or one without its schema: asked in a process of its own.
Json told_facts(const LoadedPlugin& plugin) {
  const ephor_plugin_info& info = *plugin.info;
  Json extensions = Json::array();
  for (std::uint32_t i = 0; i < info.required_count; ++i) {
    extensions.push_back(std::string(to_text(info.required_extensions[i])));
  }
  return {{"id", std::string(to_text(info.id))},
          {"version", std::string(to_text(info.version))},
          {"summary", std::string(to_text(info.summary))},
          {"abi", std::to_string(plugin.entry->abi_major) + "." +
                      std::to_string(plugin.entry->abi_minor_built)},
          {"abi_minor_required", plugin.entry->abi_minor_required},
          {"is_source", (info.capabilities & EPHOR_CAP_SOURCE) != 0},
          {"required_extensions", extensions},
          {"config_schema", Json::parse(to_text(info.config_schema), nullptr, false)}};
}

// A foreign file's words must not drive the terminal.
std::string printable(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // The second block of controls is U+0080 to U+009F.
    const bool is_second =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F || is_second) text[i] = '?';
    if (is_second) text[++i] = '?';
  }
  return text;
}

// Throws HostError if there are not `count` words behind the verb.
void expect_arguments(const Options& options, std::size_t count) {
  if (options.arguments.size() == count + 1) return;
  for (const Verb& verb : kVerbs) {
    if (verb.name == options.arguments[0]) {
      throw HostError(EPHOR_INVALID, "plugin: expected `" + std::string(verb.usage) + "`");
    }
  }
}

Config config_of(const Options& options) {
  std::vector<ConfigError> errors;
  Config config = Config::load(options.config, options.overrides, errors);
  if (!errors.empty()) throw HostError(EPHOR_INVALID, errors.front().text());
  return config;
}

// One row for each plugin in the file.
std::vector<Json> rows_of(const PluginGate& gate, const fs::path& file) {
  const Json nothing{{"id", file.stem().string()}, {"version", "-"}, {"abi", "-"}, {"summary", ""}};
  std::vector<Json> out;
  Verdict verdict;
  try {
    const OpenedFile opened(file);
    const LibraryFacts facts = read_library(opened.descriptor(), file);
    for (const PluginNote& note : facts.notes) out.push_back(note_facts(note));
    verdict = verdict_on(gate, opened, file, facts);
  } catch (const HostError& failure) {
    verdict = {"refused", failure.what()};
  }
  if (out.empty()) out.push_back(nothing);
  for (Json& row : out) {
    row.erase("config_schema");
    row["file"] = file.string();
    row["state"] = verdict.state;
    row["reason"] = verdict.reason;
  }
  return out;
}

int list(const Options& options) {
  expect_arguments(options, 0);
  const Config config = config_of(options);
  const PluginLoader loader(plugin_directories(config.tree()));
  const PluginGate gate(loader, policy_of(config));
  Json all = Json::array();
  for (const fs::path& file : loader.files()) {
    for (Json& row : rows_of(gate, file)) all.push_back(std::move(row));
  }
  int code = kDone;
  if (options.json) std::cout << all.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  for (const Json& row : all) {
    const auto text = [&](const char* name) { return printable(row[name].get<std::string>()); };
    const std::string state = text("state");
    if (state == "refused") code = kFailed;
    if (options.json) continue;
    std::printf("%-18s %-10s %-5s %-8s %s\n", text("id").c_str(), text("version").c_str(),
                text("abi").c_str(), state.c_str(), text("file").c_str());
    if (state == "refused") std::printf("  %s\n", text("reason").c_str());
  }
  return code;
}

int inspect(const Options& options) {
  expect_arguments(options, 1);
  const std::string& name = options.arguments[1];
  const Config config = config_of(options);
  const PluginLoader loader(plugin_directories(config.tree()));
  const PluginGate gate(loader, policy_of(config));
  const bool is_file = name.ends_with(".so") || name.find('/') != std::string::npos;
  const fs::path file = is_file ? fs::absolute(name) : loader.find(name);
  const OpenedFile opened(file);
  const LibraryFacts facts = read_library(opened.descriptor(), file);
  const Verdict verdict = verdict_on(gate, opened, file, facts);
  const bool is_told = !facts.notes.empty() && facts.notes[0].config_schema.has_value();
  Json out = Json::object();
  for (const PluginNote& note : facts.notes) {
    if (out.empty())
      out = note_facts(note);
    else
      out["further"].push_back(note_facts(note));
  }
  if (is_told) {
    out["described_by"] = "its note; none of its code has run";
  } else if (verdict.state == "refused") {
    out["described_by"] = "nothing: a file that is refused is not run";
  } else {
    out.update(told_facts(gate.describe_file(file)));
    out["described_by"] = "ephor-runner, which has loaded it in a process of its own";
  }
  out["file"] = file.string();
  out["size"] = facts.size;
  out["sha256"] = sha256_of(opened.descriptor(), file);
  out["build_id"] = facts.build_id;
  if (facts.exported_count) out["exported_symbols"] = *facts.exported_count;
  out["state"] = verdict.state;
  if (!verdict.reason.empty()) out["reason"] = verdict.reason;
  std::cout << out.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  return verdict.state == "refused" ? kFailed : kDone;
}

int check_plugin(const Options& options) {
  // Its own options follow the verb; the plugin path is the default one.
  const PluginLoader loader(plugin_directories(Json::object()));
  return check::plugin_check_command({options.arguments.begin() + 1, options.arguments.end()},
                                     [&](std::string_view id) { return loader.find(id); });
}

int release(const Options& options) {
  expect_arguments(options, 1);
  const fs::path data_dir = data_dir_of(options);
  const auto answer =
      ask_running_host(data_dir, {{"command", "release"}, {"instance", options.arguments[1]}});
  if (!answer) throw_no_host(data_dir);
  return kDone;
}

}  // namespace

int plugin_command(const Options& options) {
  std::string known;
  for (const Verb& verb : kVerbs) {
    if (!options.arguments.empty() && verb.name == options.arguments[0]) return verb.run(options);
    known += (known.empty() ? "`" : ", `") + std::string(verb.usage) + "`";
  }
  throw HostError(EPHOR_INVALID, "plugin: expected one of " + known);
}

std::string plugin_usage() {
  std::string out;
  for (const Verb& verb : kVerbs) {
    std::string line = "  " + std::string(verb.usage);
    line.resize(std::max<std::size_t>(line.size() + 1, 40), ' ');
    out += line + std::string(verb.summary) + "\n";
  }
  return out;
}

}  // namespace ephor::host
