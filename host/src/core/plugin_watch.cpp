// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_watch.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <sys/inotify.h>
#include <unistd.h>

#include "core/plugin_note.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A linker writes in bursts; this long without one, and with the same size and time, is done.
constexpr auto kQuiet = 200ms;
// A file that is no plugin after this long will not become one by waiting.
constexpr auto kPatience = 3s;
constexpr auto kRetry = 500ms;
constexpr std::uint32_t kMask =
    IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_ONLYDIR;

// Why it is no plugin (yet); empty if it is one.
std::string problem_of(const fs::path& file) {
  try {
    const LibraryFacts facts = read_library(file);
    if (!facts.notes.empty() || facts.has_entry.value_or(true)) return {};
    return file.string() + ": found no symbol " EPHOR_ENTRY_SYMBOL ", expected a plugin";
  } catch (const HostError& failure) {
    return failure.what();
  }
}

}  // namespace

PluginWatch::PluginWatch() : descriptor_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (descriptor_ < 0) {
    throw HostError(EPHOR_IO, std::string("--watch: inotify: ") + std::strerror(errno));
  }
}

PluginWatch::~PluginWatch() { ::close(descriptor_); }

void PluginWatch::follow(const std::vector<fs::path>& files) {
  if (files == files_) return;
  files_ = files;
  std::map<fs::path, int> directories;
  for (const fs::path& file : files_) {
    const fs::path directory = file.parent_path();
    const auto found = directories_.find(directory);
    directories[directory] = found == directories_.end() ? -1 : found->second;
  }
  for (const auto& [directory, watch] : directories_) {
    if (watch >= 0 && !directories.contains(directory)) ::inotify_rm_watch(descriptor_, watch);
  }
  directories_ = std::move(directories);
  for (auto& [directory, watch] : directories_) {
    if (watch < 0) watch = ::inotify_add_watch(descriptor_, directory.c_str(), kMask);
  }
}

PluginWatch::Found PluginWatch::look() {
  const Clock::time_point now = Clock::now();
  read_events();
  watch_directories(now);
  Found out;
  bool is_all_done = true;
  for (auto& [file, change] : changes_) {
    if (change.is_done) continue;
    std::error_code gone;
    const std::uintmax_t size = fs::file_size(file, gone);
    const fs::file_time_type time = gone ? fs::file_time_type() : fs::last_write_time(file, gone);
    const bool is_news = !gone && (size != change.size || time != change.time);
    if (is_news) change = {now, size, time, false, false};
    const auto quiet = now - change.last;
    const std::string problem = quiet < kQuiet ? "it is still written to" : problem_of(file);
    change.is_done = problem.empty() || quiet >= kPatience;
    if (!change.is_done) is_all_done = false;
    if (change.is_done && !problem.empty()) {
      out.problems.push_back(problem);
      change.is_problem = true;
    }
  }
  // A build makes several files: what is half done of it is not taken.
  if (!is_all_done) return out;
  for (const auto& [file, change] : changes_) {
    if (!change.is_problem) out.changed.push_back(file);
  }
  changes_.clear();
  return out;
}

void PluginWatch::read_events() {
  alignas(inotify_event) char piece[16U << 10];
  const Clock::time_point now = Clock::now();
  for (;;) {
    const ssize_t got = ::read(descriptor_, piece, sizeof piece);
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      inotify_event event{};
      std::memcpy(&event, piece + at, sizeof event);
      const char* name = piece + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
      for (const fs::path& file : files_) {
        const auto directory = directories_.find(file.parent_path());
        const bool is_there = directory != directories_.end() && directory->second == event.wd;
        const bool is_named = event.len != 0 && file.filename() == name;
        // Lost events: it may be any.
        if ((event.mask & IN_Q_OVERFLOW) != 0 || (is_there && is_named)) notice(file, now);
      }
      if ((event.mask & IN_IGNORED) == 0) continue;
      for (auto& [directory, watch] : directories_) {
        if (watch == event.wd) watch = -1;
      }
    }
  }
}

void PluginWatch::notice(const fs::path& file, Clock::time_point now) { changes_[file].last = now; }

// A directory that was removed and made again is another one; its files are all news.
void PluginWatch::watch_directories(Clock::time_point now) {
  if (now < retry_at_) return;
  retry_at_ = now + kRetry;
  for (auto& [directory, watch] : directories_) {
    if (watch >= 0) continue;
    watch = ::inotify_add_watch(descriptor_, directory.c_str(), kMask);
    if (watch < 0) continue;
    for (const fs::path& file : files_) {
      if (file.parent_path() == directory) notice(file, now);
    }
  }
}

}  // namespace ephor::host
