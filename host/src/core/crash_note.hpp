// SPDX-License-Identifier: Apache-2.0
//
// When the process crashes inside a plugin, the next start should know which one it was: a signal
// handler notes the plugin, the call and the event in DATA_DIR/crash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace ephor::host {

struct Crash {
  int signal = 0;
  std::string instance;  // empty: the host called no plugin there
  std::string module;    // then: the plugin's library whose thread it was, "http_api.so"; or empty
  std::string what;      // "on_events"
  std::uint64_t sequence = 0;
  std::string text() const;  // for the log
};

// One per process, from the start of a live host to its clean end.
class CrashNote {
 public:
  // Takes over SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT; what was installed before still runs
  // after the note is written. Throws HostError if the file cannot be made.
  explicit CrashNote(const std::filesystem::path& data_dir);
  ~CrashNote();
  CrashNote(const CrashNote&) = delete;
  CrashNote& operator=(const CrashNote&) = delete;

  // What the last process noted; it is removed. Empty if it ended without a crash.
  static std::optional<Crash> take(const std::filesystem::path& data_dir);

 private:
  const std::filesystem::path path_;
};

// Gives the calling thread a stack for signal handlers, so that an overflow of its own can be
// noted. Cheap when it has one.
void need_signal_stack();

// DATA_DIR/crashes.json: how often each instance brought the host down. A count belongs to a build
// and a configuration of the plugin (`epoch`): a new one starts from nothing.
class CrashHistory {
 public:
  explicit CrashHistory(const std::filesystem::path& data_dir);

  // Counts within this time only.
  static constexpr std::int64_t kMemoryNs = 24LL * 3600 * 1'000'000'000;

  void add(const Crash& crash, std::int64_t now_ns);
  // The crashes of the instance so far; the last one in words.
  struct Record {
    std::uint32_t count = 0;
    std::string last;
    std::string last_call;
  };
  Record of(const std::string& instance, const std::string& epoch, std::int64_t now_ns);
  void forget(const std::string& instance);

 private:
  struct Entry {
    std::uint32_t count = 0;
    std::int64_t last_ns = 0;
    std::string last;
    std::string last_call;
    std::string epoch;  // empty until the instance is seen again
  };
  void store() const;

  const std::filesystem::path path_;
  std::map<std::string, Entry> entries_;
};

}  // namespace ephor::host
