// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_loader.hpp"

#include <ephor/note.hpp>
#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstdint>
#include <map>

#include <boost/dll/shared_library.hpp>

#include <nlohmann/json.hpp>

#include "core/abi_check.hpp"
#include "core/plugin_note.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

std::string version_text(unsigned major, unsigned minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

void check_entry(const fs::path& file, const ephor_entry* entry) {
  const std::string where = file.string() + ": ";
  const std::string host = version_text(EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR);
  if (entry == nullptr || entry->magic != EPHOR_ENTRY_MAGIC) {
    throw HostError(EPHOR_INVALID, where +
                                       "found no Ephor entry (wrong magic), expected a plugin "
                                       "of ABI " +
                                       host);
  }
  // Another major may have another entry; what tells it apart stands first in all of them.
  if (!EPHOR_HAS(entry, ephor_entry, abi_minor_built) || entry->abi_major == EPHOR_ABI_MAJOR) {
    check_whole(file.string(), *entry);
  }
  if (entry->abi_major != EPHOR_ABI_MAJOR) {
    throw HostError(EPHOR_UNSUPPORTED, where + "found ABI " +
                                           version_text(entry->abi_major, entry->abi_minor_built) +
                                           ", expected major " + std::to_string(EPHOR_ABI_MAJOR) +
                                           " (this host: " + host + ")");
  }
  if (entry->abi_minor_required > EPHOR_ABI_MINOR) {
    throw HostError(EPHOR_UNSUPPORTED,
                    where + "it requires ABI " +
                        version_text(entry->abi_major, entry->abi_minor_required) +
                        ", expected at most " + host);
  }
  if (entry->info_count < 1 || entry->infos == nullptr || entry->infos[0] == nullptr) {
    throw HostError(EPHOR_INVALID, where + "found no plugin in it, expected at least one");
  }
  check_info(file.string(), *entry->infos[0]);
  if (entry->infos[0]->create == nullptr) {
    throw HostError(EPHOR_INVALID, where + "found a plugin without create, expected one with it");
  }
}

void check_extensions(const fs::path& file, const ephor_plugin_info& info) {
  const auto& offered = host_extensions();
  for (std::uint32_t i = 0; i < info.required_count; ++i) {
    const std::string_view wanted = to_text(info.required_extensions[i]);
    if (std::find(offered.begin(), offered.end(), wanted) == offered.end()) {
      throw HostError(EPHOR_UNSUPPORTED, file.string() + ": it requires the extension " +
                                             std::string(wanted) + ", which this host lacks");
    }
  }
}

[[noreturn]] void throw_lie(const std::string& where, const std::string& what,
                            const std::string& noted, const std::string& said) {
  throw HostError(EPHOR_INVALID, where + "found " + what + " " + noted + " in its note and " +
                                     said + " in its entry, expected the same");
}

std::vector<std::string> texts_of(const ephor_view* views, std::uint32_t count) {
  std::vector<std::string> out;
  for (std::uint32_t i = 0; i < count; ++i) out.emplace_back(to_text(views[i]));
  return out;
}

// The schema's text may be laid out in another way, so its hash is asked before its meaning.
bool is_same_schema(const PluginNote& note, std::string_view schema) {
  if (note.config_schema_hash)
    return *note.config_schema_hash == fnv1a(schema.data(), schema.size());
  if (!note.config_schema) return true;
  const auto said = nlohmann::json::parse(schema, nullptr, false);
  return said == nlohmann::json::parse(*note.config_schema, nullptr, false);
}

void check_note(const std::string& where, const PluginNote& note, const ephor_entry& entry,
                const ephor_plugin_info& info) {
  const auto same = [&](const char* what, const std::string& noted, const std::string& said) {
    if (noted != said) throw_lie(where, what, noted, said);
  };
  same("the id", note.id, std::string(to_text(info.id)));
  same("the version", note.version, std::string(to_text(info.version)));
  same("ABI", version_text(note.abi_major, note.abi_minor),
       version_text(entry.abi_major, entry.abi_minor_built));
  same("required ABI minor", std::to_string(note.abi_minor_required),
       std::to_string(entry.abi_minor_required));
  same("capabilities", std::to_string(note.capabilities), std::to_string(info.capabilities));
  if (note.required_extensions != texts_of(info.required_extensions, info.required_count)) {
    throw HostError(EPHOR_INVALID, where +
                                       "found some required extensions in its note and others in "
                                       "its entry, expected the same");
  }
  if (!is_same_schema(note, to_text(info.config_schema))) {
    throw HostError(EPHOR_INVALID, where +
                                       "found one configuration schema in its note and another in "
                                       "its entry, expected the same");
  }
}

void check_notes(const std::string& where, const std::vector<PluginNote>& notes,
                 const ephor_entry& entry) {
  if (notes.empty()) return;  // an older binary, or one of another language
  if (notes.size() != entry.info_count) {
    throw_lie(where, "plugins:", std::to_string(notes.size()), std::to_string(entry.info_count));
  }
  for (std::size_t i = 0; i < notes.size(); ++i) {
    if (entry.infos[i] != nullptr) check_note(where, notes[i], entry, *entry.infos[i]);
  }
}

}  // namespace

const std::vector<std::string_view>& host_extensions() {
  static const std::vector<std::string_view> kExtensions{
      "ephor.query/1",   "ephor.http/1", "ephor.storage/1", "ephor.journal/1", "ephor.command/1",
      "ephor.metrics/1", "ephor.log/1",  "ephor.health/1",  "ephor.task/1"};
  return kExtensions;
}

LoadedPlugin PluginLoader::load_file(const fs::path& file) {
  namespace dll = boost::dll;
  // Never destroyed, so that no library is ever unloaded.
  static auto& libraries = *new std::map<std::string, dll::shared_library>();
  const LibraryFacts facts = read_library(file);
  dll::shared_library library;
  try {
    library.load(file.string(), dll::load_mode::rtld_now | dll::load_mode::rtld_local);
  } catch (const std::exception& failure) {  // its text is the dynamic linker's
    throw HostError(
        EPHOR_INVALID,
        file.string() + ": found no loadable library, expected a plugin: " + failure.what());
  }
  if (!library.has(EPHOR_ENTRY_SYMBOL)) {
    libraries[file.string()] = library;
    throw HostError(EPHOR_INVALID, file.string() +
                                       ": found no symbol " EPHOR_ENTRY_SYMBOL
                                       ", expected a plugin of ABI major " +
                                       std::to_string(EPHOR_ABI_MAJOR));
  }
  const auto function = library.get<const ephor_entry*()>(EPHOR_ENTRY_SYMBOL);
  libraries[file.string()] = library;
  const ephor_entry* entry = function();
  check_entry(file, entry);
  check_extensions(file, *entry->infos[0]);
  check_notes(file.string() + ": ", facts.notes, *entry);
  return {file, entry, entry->infos[0]};
}

void PluginLoader::check(const std::string& where, const ephor_entry& entry) {
  check_entry(where, &entry);
  check_extensions(where, *entry.infos[0]);
}

const LoadedPlugin* PluginLoader::linked(std::string_view id) const {
  const auto found = linked_.find(id);
  return found == linked_.end() ? nullptr : &found->second;
}

void PluginLoader::add(std::string id, const ephor_entry& entry) {
  check(id, entry);
  linked_[id] = {id, &entry, entry.infos[0]};
}

LoadedPlugin PluginLoader::load(std::string_view id) const {
  if (const auto found = linked_.find(id); found != linked_.end()) return found->second;
  return load_file(find(id));
}

fs::path PluginLoader::find(std::string_view id) const {
  // A name, and no way out of the directories.
  if (id.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
    throw HostError(EPHOR_INVALID, "found the plugin id \"" + std::string(id) +
                                       "\", expected a file's name without .so");
  }
  std::string searched;
  for (const fs::path& directory : directories_) {
    const fs::path file = directory / (std::string(id) + ".so");
    if (fs::exists(file)) return file;
    searched += (searched.empty() ? "" : ", ") + directory.string();
  }
  throw HostError(EPHOR_NOT_FOUND, "found no " + std::string(id) + ".so, expected it in " +
                                       (searched.empty() ? "a plugin directory" : searched));
}

std::vector<fs::path> PluginLoader::files() const {
  std::map<std::string, fs::path> found;
  for (const fs::path& directory : directories_) {
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(directory, ignored)) {
      if (file.path().extension() == ".so")
        found.emplace(file.path().filename().string(), file.path());
    }
  }
  std::vector<fs::path> out;
  for (const auto& [name, path] : found) out.push_back(path);
  return out;
}

}  // namespace ephor::host
