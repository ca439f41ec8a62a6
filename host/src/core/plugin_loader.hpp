// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

// A plugin library. It stays mapped until the process ends: code is never unloaded.
struct LoadedPlugin {
  std::filesystem::path file;
  const ephor_entry* entry = nullptr;
  const ephor_plugin_info* info = nullptr;
  friend bool operator==(const LoadedPlugin&, const LoadedPlugin&) = default;
};

// Finds plugin files by id ("tracer" -> DIRECTORY/tracer.so) in a list of directories.
class PluginLoader {
 public:
  explicit PluginLoader(std::vector<std::filesystem::path> directories)
      : directories_(std::move(directories)) {}

  // A plugin that is linked into the program (tests have some): it is found before every file.
  void add(std::string id, const ephor_entry& entry);

  // Throws HostError naming the file, both versions and what is missing.
  LoadedPlugin load(std::string_view id) const;
  // Where it is. Throws HostError EPHOR_NOT_FOUND naming the directories.
  std::filesystem::path find(std::string_view id) const;
  static LoadedPlugin load_file(const std::filesystem::path& file);

  // Every *.so in the directories, the first of each name; sorted by name.
  std::vector<std::filesystem::path> files() const;

 private:
  std::vector<std::filesystem::path> directories_;
  std::map<std::string, LoadedPlugin, std::less<>> linked_;
};

// What this host offers; a plugin that requires another one is refused with its name.
const std::vector<std::string_view>& host_extensions();

}  // namespace ephor::host
