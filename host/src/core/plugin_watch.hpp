// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ephor::host {

// Notices when plugin files are built again, for `ephor run --watch`: the directories of the files
// are watched (inotify), so that a file renamed into place counts like one written in place. One
// thread uses it.
class PluginWatch {
 public:
  using Clock = std::chrono::steady_clock;

  // Throws HostError EPHOR_IO if the kernel gives no watch.
  PluginWatch();
  ~PluginWatch();
  PluginWatch(const PluginWatch&) = delete;
  PluginWatch& operator=(const PluginWatch&) = delete;

  // The files to watch from now on; one that was watched before keeps what was noticed.
  void follow(const std::vector<std::filesystem::path>& files);

  struct Found {
    std::vector<std::filesystem::path> changed;  // nobody writes to it any more, and it is a plugin
    std::vector<std::string> problems;           // it stays something else
  };
  // What was noticed since the last look. Never waits.
  Found look();

 private:
  struct Change {
    Clock::time_point last;
    std::uintmax_t size = 0;
    std::filesystem::file_time_type time{};
    bool is_done = false;  // a plugin that nobody writes to, or a problem
    bool is_problem = false;
  };

  void read_events();
  void notice(const std::filesystem::path& file, Clock::time_point now);
  void watch_directories(Clock::time_point now);

  int descriptor_ = -1;
  std::vector<std::filesystem::path> files_;
  std::map<std::filesystem::path, int> directories_;  // watch descriptor, -1: it is not there
  std::map<std::filesystem::path, Change> changes_;
  Clock::time_point retry_at_{};
};

}  // namespace ephor::host
