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
  // What is mapped, or for a process to map: a private copy of `file`, or empty for the file
  // itself.
  std::filesystem::path copy = {};
  std::string hash = {};  // SHA-256 of what was loaded, where PluginGate did it
  // Nothing of it runs in this process: `create` fails. PluginGate::load makes it usable.
  bool is_described_only = false;

  const std::filesystem::path& image() const { return copy.empty() ? file : copy; }
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
  // Maps it and runs its initialisers. If it has notes (plugin_note.hpp) they must say what its
  // entry says.
  static LoadedPlugin load_file(const std::filesystem::path& file);
  // Is it for this host? Throws as load_file does; `where` begins the text.
  static void check(const std::string& where, const ephor_entry& entry);
  // Linked into the program, or nullptr.
  const LoadedPlugin* linked(std::string_view id) const;

  // Every *.so in the directories, the first of each name; sorted by name.
  std::vector<std::filesystem::path> files() const;

 private:
  std::vector<std::filesystem::path> directories_;
  std::map<std::string, LoadedPlugin, std::less<>> linked_;
};

// What this host offers; a plugin that requires another one is refused with its name.
const std::vector<std::string_view>& host_extensions();

}  // namespace ephor::host
