// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_loader.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstdint>
#include <map>

#include <boost/dll/shared_library.hpp>

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
  if (entry->info_count < 1 || entry->infos == nullptr || entry->infos[0] == nullptr ||
      entry->infos[0]->create == nullptr) {
    throw HostError(EPHOR_INVALID, where + "found no plugin in it, expected at least one");
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
  return {file, entry, entry->infos[0]};
}

void PluginLoader::add(std::string id, const ephor_entry& entry) {
  check_entry(id, &entry);
  check_extensions(id, *entry.infos[0]);
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
