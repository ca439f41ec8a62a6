// SPDX-License-Identifier: Apache-2.0
//
// The way of a plugin file into a host: found, looked at, described, and only then loaded.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/instance_settings.hpp"
#include "core/plugin_loader.hpp"
#include "core/plugin_note.hpp"
#include "core/plugin_policy.hpp"

namespace ephor::host {

// When a file is loaded from a private copy of its bytes. What is mapped must not be written to: a
// copy keeps a compiler that does so from the running code, and is what a list has allowed however
// fast somebody exchanges the file.
enum class CopyWhen {
  needed,  // with an allow list, and for a second version of a file that is loaded already
  always,
};

// Where and when copies are made; the directory is made on first use.
struct CopyRule {
  std::filesystem::path parent = std::filesystem::temp_directory_path();
  CopyWhen when = CopyWhen::needed;
};

class PluginGate {
 public:
  // `loader` outlives it.
  PluginGate(const PluginLoader& loader, PluginPolicy policy)
      : loader_(loader), policy_(std::move(policy)) {}

  // What `id` says of itself, by its note or, where that holds no schema, asked in a process of its
  // own. None of its code runs in this process. Throws HostError: not found, not allowed, writable
  // by others, no plugin, for another host. [control]
  LoadedPlugin describe(std::string_view id) const;
  LoadedPlugin describe_file(const std::filesystem::path& file) const;

  // May this open file be loaded, as far as its place and its hash say? Throws as describe does.
  void admit(int descriptor, const std::filesystem::path& file) const;

  // What was described, usable: mapped here, or with the file that a process of its own is to map.
  // A file that has not changed since gives the same again; a changed one gives the new version
  // beside the old, which stays mapped. Throws as describe does, or why it cannot be loaded.
  // [control]
  LoadedPlugin load(const LoadedPlugin& described, Isolation isolation, const CopyRule& rule) const;

 private:
  const PluginLoader& loader_;
  const PluginPolicy policy_;
};

// Is the plugin of the note for this host? Throws HostError as PluginLoader::check does.
void check_fits(const std::filesystem::path& file, const PluginNote& note);

}  // namespace ephor::host
