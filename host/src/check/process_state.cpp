// SPDX-License-Identifier: Apache-2.0
#include "check/process_state.hpp"

#include <algorithm>
#include <chrono>
#include <clocale>
#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

extern char** environ;

namespace ephor::host::check {
namespace {

namespace fs = std::filesystem;

std::vector<int> numbers_in(const fs::path& directory) {
  std::vector<int> out;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    out.push_back(std::atoi(entry.path().filename().c_str()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string hexadecimal(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::map<int, std::string> open_descriptors() {
  std::map<int, std::string> out;
  for (const int descriptor : numbers_in("/proc/self/fd")) {
    std::error_code failure;
    const fs::path target =
        fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), failure);
    if (!failure) out[descriptor] = target.string();  // not the one that read the directory
  }
  return out;
}

std::vector<int> threads() { return numbers_in("/proc/self/task"); }

std::size_t threads_after_wait(std::size_t wanted, int patience_ms) {
  std::size_t count = threads().size();
  for (int waited = 0; count > wanted && waited < patience_ms; ++waited) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    count = threads().size();
  }
  return count;
}

std::vector<int> child_processes() {
  std::vector<int> out;
  for (const int thread : threads()) {
    std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/children");
    for (int child = 0; in >> child;) out.push_back(child);
  }
  return out;
}

Mappings mappings() {
  Mappings out;
  std::ifstream in("/proc/self/maps");
  for (std::string line; std::getline(in, line);) {
    unsigned long long from = 0;
    unsigned long long to = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx", &from, &to) != 2) continue;
    ++out.count;
    out.bytes += to - from;
  }
  return out;
}

std::vector<std::string> files_below(const fs::path& directory) {
  std::vector<std::string> out;
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(directory, ignored)) {
    out.push_back(fs::relative(entry.path(), directory, ignored).string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string environment_text() {
  std::set<std::string> lines;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    lines.insert(*variable);
  }
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

std::string working_directory() {
  std::error_code ignored;
  return fs::current_path(ignored).string();
}

std::string locale_text() { return std::setlocale(LC_ALL, nullptr); }

std::string floating_point_text() {
  std::string out = "rounding " + std::to_string(std::fegetround());
#if defined(__x86_64__)
  constexpr unsigned kStickyFlags = 0x3F;  // what was computed, not how it is
  out += ", MXCSR " + hexadecimal(_mm_getcsr() & ~kStickyFlags);
#elif defined(__aarch64__)
  std::uint64_t control = 0;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  out += ", FPCR " + hexadecimal(control);
#endif
  return out;
}

std::string umask_text() {
  const mode_t now = ::umask(0);
  ::umask(now);
  char text[16];
  std::snprintf(text, sizeof text, "0%o", static_cast<unsigned>(now));
  return text;
}

std::map<int, std::string> signal_handlers() {
  std::map<int, std::string> out;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0) continue;
    if (action.sa_handler == SIG_DFL) {
      out[signal] = "default";
    } else if (action.sa_handler == SIG_IGN) {
      out[signal] = "ignored";
    } else {
      out[signal] = "handler " + hexadecimal(reinterpret_cast<std::uint64_t>(action.sa_handler));
    }
  }
  return out;
}

std::string signal_mask() {
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  std::string out;
  for (int signal = 1; signal < NSIG; ++signal) {
    if (::sigismember(&blocked, signal) == 1) {
      out += (out.empty() ? "" : " ") + std::to_string(signal);
    }
  }
  return out;
}

std::string difference(const std::string& before, const std::string& after) {
  const auto lines_of = [](const std::string& text) {
    std::set<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.insert(line);
    return lines;
  };
  const std::set<std::string> old_lines = lines_of(before);
  const std::set<std::string> new_lines = lines_of(after);
  std::string out;
  for (const std::string& line : old_lines) {
    if (!new_lines.contains(line)) out += (out.empty() ? "- " : "; - ") + line;
  }
  for (const std::string& line : new_lines) {
    if (!old_lines.contains(line)) out += (out.empty() ? "+ " : "; + ") + line;
  }
  return out;
}

}  // namespace ephor::host::check
