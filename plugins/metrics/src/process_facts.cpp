// SPDX-License-Identifier: Apache-2.0
#include "process_facts.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>

namespace ephor::metrics {
namespace {

namespace fs = std::filesystem;

constexpr double kRecentLeastS = 0.5;  // a shorter time says little
constexpr std::size_t kFilesMax = 100'000;

double monotonic_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The lines "NAME: number ..." of a file of /proc.
std::map<std::string, std::uint64_t> numbers_of(const char* file) {
  std::map<std::string, std::uint64_t> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::istringstream rest(line.substr(colon + 1));
    std::uint64_t value = 0;
    if (rest >> value) out[line.substr(0, colon)] = value;
  }
  return out;
}

Json kibibytes(const std::map<std::string, std::uint64_t>& numbers, const char* name) {
  const auto found = numbers.find(name);
  return found == numbers.end() ? Json() : Json(found->second * 1024);
}

std::optional<double> machine_uptime_s() {
  std::ifstream in("/proc/uptime");
  double seconds = 0.0;
  if (in >> seconds) return seconds;
  return std::nullopt;
}

// Field 22 of /proc/self/stat, in clock ticks since the machine's start. The command's name, field
// 2, may hold blanks and brackets.
std::optional<double> process_uptime_s() {
  std::ifstream in("/proc/self/stat");
  std::string line;
  std::getline(in, line);
  const std::size_t bracket = line.rfind(')');
  const auto machine = machine_uptime_s();
  if (bracket == std::string::npos || !machine) return std::nullopt;
  std::istringstream rest(line.substr(bracket + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) rest >> skipped;
  double ticks = 0.0;
  if (!(rest >> ticks)) return std::nullopt;
  return std::max(0.0, *machine - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

Json open_descriptors() {
  std::error_code failure;
  std::uint64_t count = 0;
  for (fs::directory_iterator at("/proc/self/fd", failure), end; !failure && at != end;
       at.increment(failure)) {
    ++count;
  }
  if (failure || count == 0) return nullptr;
  return count - 1;  // less the one that reads the directory
}

}  // namespace

Json ProcessFacts::process() {
  const auto status = numbers_of("/proc/self/status");
  const double cpu_s = cpu_seconds();
  const double at_s = monotonic_s();
  const auto uptime_s = process_uptime_s();
  Json recent;
  Json recent_s;
  if (last_at_s_ > 0.0 && at_s - last_at_s_ >= kRecentLeastS) {
    recent = number_or_null((cpu_s - last_cpu_s_) / (at_s - last_at_s_));
    recent_s = at_s - last_at_s_;
  }
  if (last_at_s_ <= 0.0 || at_s - last_at_s_ >= kRecentLeastS) {
    last_cpu_s_ = cpu_s;
    last_at_s_ = at_s;
  }
  const auto threads = status.find("Threads");
  rlimit descriptors{};
  const bool has_limit = ::getrlimit(RLIMIT_NOFILE, &descriptors) == 0;
  return {{"pid", ::getpid()},
          {"uptime_s", number_or_null(uptime_s)},
          {"cpu_seconds", cpu_s},
          {"cpu_share", uptime_s && *uptime_s > 0.0 ? number_or_null(cpu_s / *uptime_s) : Json()},
          {"cpu_share_recent", std::move(recent)},
          {"recent_s", std::move(recent_s)},
          {"rss_bytes", kibibytes(status, "VmRSS")},
          {"peak_rss_bytes", kibibytes(status, "VmHWM")},
          {"threads", threads == status.end() ? Json() : Json(threads->second)},
          {"open_descriptors", open_descriptors()},
          {"open_descriptors_limit", has_limit ? Json(descriptors.rlim_cur) : Json()}};
}

Json machine_facts() {
  const auto memory = numbers_of("/proc/meminfo");
  std::ifstream in("/proc/loadavg");
  double load[3] = {};
  const bool has_load = static_cast<bool>(in >> load[0] >> load[1] >> load[2]);
  const auto load_json = [&](int i) { return has_load ? Json(load[i]) : Json(); };
  return {{"cores", std::thread::hardware_concurrency()},
          {"load_1m", load_json(0)},
          {"load_5m", load_json(1)},
          {"load_15m", load_json(2)},
          {"memory_total_bytes", kibibytes(memory, "MemTotal")},
          {"memory_available_bytes", kibibytes(memory, "MemAvailable")},
          {"uptime_s", number_or_null(machine_uptime_s())}};
}

Json disk_facts(const std::string& directory) {
  if (directory.empty()) return nullptr;
  Json out{{"data_dir", directory}};
  struct statvfs space {};
  const bool has_space = ::statvfs(directory.c_str(), &space) == 0;
  const auto bytes = [&](auto blocks) {
    return has_space ? Json(static_cast<std::uint64_t>(blocks) * space.f_frsize) : Json();
  };
  out["total_bytes"] = bytes(space.f_blocks);
  out["free_bytes"] = bytes(space.f_bavail);
  out["used_share"] =
      has_space && space.f_blocks > 0
          ? Json(1.0 - static_cast<double>(space.f_bavail) / static_cast<double>(space.f_blocks))
          : Json();
  std::map<std::string, std::uint64_t> parts;  // of the directory: files and whole folders
  std::uint64_t total = 0;
  std::size_t files = 0;
  std::error_code failure;
  fs::recursive_directory_iterator at(directory, failure);
  for (const fs::recursive_directory_iterator end; !failure && at != end && files < kFilesMax;
       at.increment(failure)) {
    std::error_code unknown;
    if (!at->is_regular_file(unknown) || unknown) continue;
    const std::uint64_t size = at->file_size(unknown);
    if (unknown) continue;
    ++files;
    total += size;
    parts[at->path().lexically_relative(directory).begin()->string()] += size;
  }
  out["data_dir_bytes"] = files == 0 ? Json() : Json(total);
  out["data_dir_parts"] = parts;
  return out;
}

}  // namespace ephor::metrics
