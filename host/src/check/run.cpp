// SPDX-License-Identifier: Apache-2.0
#include "check/run.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check/context.hpp"
#include "event/error.hpp"
#include "isolation/child_process.hpp"

namespace ephor::host::check {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kOutputBytesMax = 4096;  // shown of what a plugin printed
constexpr std::uint64_t kMemoryBytes = 8ULL << 30;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kHasSanitizer = true;  // its shadow takes terabytes of address space
#else
constexpr bool kHasSanitizer = false;
#endif

// Beside ephor in a build, in ../lib/ephor where it is installed.
fs::path checker_file() {
  std::error_code ignored;
  const fs::path directory = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::string searched;
  for (const fs::path& file :
       {directory / "ephor-checker", directory / "../lib/ephor/ephor-checker"}) {
    if (::access(file.c_str(), X_OK) == 0) return file.lexically_normal();
    searched += (searched.empty() ? "" : ", ") + file.lexically_normal().string();
  }
  throw HostError(
      EPHOR_NOT_FOUND,
      "found no ephor-checker, the program that runs one check, expected it as one of " + searched);
}

// Memory that two processes share; nothing blocks if a plugin writes a lot or keeps it open.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : descriptor_(::memfd_create(name, MFD_CLOEXEC)) {
    if (descriptor_ < 0) throw HostError(EPHOR_IO, std::string("memfd: ") + std::strerror(errno));
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }
  void resize(std::size_t bytes) {
    if (::ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) {
      throw HostError(EPHOR_IO, std::string("memfd: ") + std::strerror(errno));
    }
  }
  std::size_t size() const {
    struct stat status {};
    return ::fstat(descriptor_, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
  }
  std::string read(std::size_t from, std::size_t bytes_max) const {
    std::string out(bytes_max, '\0');
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(from));
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
  }

 private:
  int descriptor_;
};

// A directory of the run's own below the temporary one.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (fs::temp_directory_path() / "ephor-check-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw HostError(EPHOR_IO, pattern + ": " + std::strerror(errno));
    }
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct End {
  int status = 0;
  bool is_in_time = true;
};

// Waits until it ends or the time is over, then kills whatever is left of its process group. The
// group's number is the child's, which stays taken until waitpid.
End wait_for(pid_t id, Clock::time_point deadline) {
  End out;
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, id, 0));
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      out.is_in_time = false;
      break;
    }
    // Without a handle (an old kernel) it is asked again and again.
    pollfd waited{handle, POLLIN, 0};
    const int found =
        handle >= 0 ? ::poll(&waited, 1, static_cast<int>(left)) : ::poll(nullptr, 0, 2);
    siginfo_t info{};
    const bool is_over = handle >= 0 ? found > 0
                                     : ::waitid(P_PID, static_cast<id_t>(id), &info,
                                                WEXITED | WNOHANG | WNOWAIT) == 0 &&
                                           info.si_pid == id;
    if (is_over) break;
  }
  if (handle >= 0) ::close(handle);
  ::kill(-id, SIGKILL);
  while (::waitpid(id, &out.status, 0) < 0 && errno == EINTR) {
  }
  return out;
}

std::string shown_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", seconds);
  return text;
}

std::string shown_output(const MemoryFile& file) {
  const std::size_t size = file.size();
  std::string out = file.read(0, kOutputBytesMax);
  if (size > out.size()) out += "\n(... " + std::to_string(size) + " bytes in all)";
  return out;
}

Result run_one(const RunOptions& options, const Check& check, const fs::path& checker,
               const fs::path& directory) {
  Result out;
  out.check = &check;
  fs::create_directories(directory);
  Json order{{"file", options.file.string()},
             {"directory", directory.string()},
             {"seed", options.seed},
             {"cpu_seconds", static_cast<std::uint64_t>(std::ceil(options.timeout_s)) + 2}};
  if (options.config) order["config"] = *options.config;
  order["timeout_s"] = options.timeout_s;
  if (!kHasSanitizer) order["memory_bytes"] = kMemoryBytes;
  MemoryFile status("ephor-check-status");
  const MemoryFile output("ephor-check-output");
  status.resize(StepBoard::kBytes);
  const auto began = Clock::now();
  const pid_t id = isolation::start_program(
      checker,
      {std::string(check.name), order.dump(-1, ' ', false, Json::error_handler_t::replace)},
      {status.descriptor(), output.descriptor()});
  const End end = wait_for(id, began + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(options.timeout_s)));
  out.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  out.output = shown_output(output);
  const Json told = Json::parse(
      status.read(StepBoard::kBytes, status.size() - std::min(status.size(), StepBoard::kBytes)),
      nullptr, false);
  if (told.is_object()) {
    out.outcome = static_cast<Outcome>(told.value("outcome", 0));
    out.message = told.value("message", std::string());
    return out;
  }
  std::string step = status.read(0, StepBoard::kBytes);
  step.resize(step.find('\0') == std::string::npos ? step.size() : step.find('\0'));
  const std::string where =
      " in " + std::string(check.name) + (step.empty() ? ", before its first step" : ", " + step);
  if (!end.is_in_time) {
    out.outcome = Outcome::timed_out;
    out.message = "no end within " + shown_seconds(options.timeout_s) + where;
  } else {
    out.outcome = Outcome::crashed;
    out.message = isolation::described_end(end.status) + where;
  }
  return out;
}

}  // namespace

std::vector<Result> run_checks(const RunOptions& options, const std::vector<const Check*>& checks) {
  const fs::path checker = checker_file();
  const ScratchDirectory scratch;
  std::vector<Result> results(checks.size());
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;  // guards failure
  const auto work = [&] {
    for (std::size_t i = next++; i < checks.size(); i = next++) {
      const fs::path directory = scratch.path() / std::to_string(i);
      try {
        results[i] = run_one(options, *checks[i], checker, directory);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        failure = std::current_exception();
        next = checks.size();
      }
      std::error_code ignored;
      fs::remove_all(directory, ignored);
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::max(1U, options.jobs); ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);
  return results;
}

}  // namespace ephor::host::check
