// SPDX-License-Identifier: Apache-2.0
//
// A built plugin under the fake host, in this process or in one of its own: everything else alike.
#pragma once

#include <dirent.h>
#include <sys/wait.h>

#include <cstdlib>
#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "core/instance_settings.hpp"
#include "core/plugin_loader.hpp"
#include "event/error.hpp"
#include "isolation/describe.hpp"
#include "isolation/process_life.hpp"
#include "support/catch.hpp"

namespace ephor::testing {

inline std::filesystem::path test_plugin(const std::string& name) {
  return std::filesystem::path(EPHOR_BUILD_DIR) / "tests/plugins" / (name + ".so");
}
inline std::filesystem::path shipped_plugin(const std::string& name) {
  return std::filesystem::path(EPHOR_BUILD_DIR) / "lib/ephor/plugins" / (name + ".so");
}
inline void use_built_runner() {
  ::setenv("EPHOR_RUNNER", (std::string(EPHOR_BUILD_DIR) + "/bin/ephor-runner").c_str(), 1);
}

// One life in a process, made with an ephor_host of this one.
inline std::unique_ptr<host::PluginLife> isolated_life(const std::filesystem::path& file,
                                                       const ephor_host& host,
                                                       std::string_view config,
                                                       host::ProcessLimits limits = {},
                                                       std::string name = "test") {
  use_built_runner();
  host::InstanceSettings settings;
  settings.name = std::move(name);
  settings.plugin.file = file;
  settings.config_json = config;
  settings.isolation = host::Isolation::process;
  settings.limits = limits;
  return host::isolation::make_process_life(settings, host);
}

// A plugin's entry whose instances live in processes: what the fake host takes for a library.
class IsolatedEntry {
 public:
  explicit IsolatedEntry(const std::filesystem::path& file, host::ProcessLimits limits = {}) {
    use_built_runner();
    current_file() = file;
    current_limits() = limits;
    const host::LoadedPlugin described = host::isolation::describe_plugin(file);
    info_ = *described.info;
    info_.create = &create;
    entry_ = *described.entry;
    entry_.infos = infos_;
  }
  IsolatedEntry(const IsolatedEntry&) = delete;
  IsolatedEntry& operator=(const IsolatedEntry&) = delete;

  const ephor_entry& entry() const { return entry_; }
  static host::PluginLife& life() { return *lives().begin()->second; }

 private:
  static std::filesystem::path& current_file() {
    static std::filesystem::path file;
    return file;
  }
  static host::ProcessLimits& current_limits() {
    static host::ProcessLimits limits;
    return limits;
  }
  static std::map<void*, std::unique_ptr<host::PluginLife>>& lives() {
    static std::map<void*, std::unique_ptr<host::PluginLife>> lives;
    return lives;
  }
  static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                             ephor_plugin* out, ephor_error* error) {
    return guarded(error, [&] {
      try {
        auto made = isolated_life(current_file(), *host, to_text(config), current_limits(),
                                  std::string(to_text(instance)));
        *out = made->table();
        out->destroy = [](void* self) { lives().erase(self); };
        lives()[out->self] = std::move(made);
      } catch (const host::HostError& failure) {
        throw Error(failure.status(), failure.what());
      }
    });
  }

  ephor_plugin_info info_{};
  const ephor_plugin_info* const infos_[1] = {&info_};
  ephor_entry entry_{};
};

inline int open_descriptors() {
  int count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}
inline bool has_children() { return ::waitpid(-1, nullptr, WNOHANG | WNOWAIT) >= 0; }

}  // namespace ephor::testing
