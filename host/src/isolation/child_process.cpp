// SPDX-License-Identifier: Apache-2.0
#include "isolation/child_process.hpp"

#include <ephor/abi.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <queue>
#include <thread>
#include <condition_variable>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/error.hpp"

extern char** environ;

namespace ephor::host::isolation {
namespace {

namespace fs = std::filesystem;

// The thread that is the parent of every child. PR_SET_PDEATHSIG speaks of the thread, not of the
// process, that started a child: one that ends earlier than the host would take its children along.
class Starter {
 public:
  static Starter& instance() {
    static Starter& starter = *new Starter();  // never destroyed: it must outlive every child
    return starter;
  }

  int run(const std::function<int()>& start) {
    std::packaged_task<int()> task(start);
    std::future<int> done = task.get_future();
    {
      const std::scoped_lock lock(mutex_);
      tasks_.push(std::move(task));
    }
    changed_.notify_one();
    return done.get();
  }

 private:
  Starter() {
    std::thread([this] {
      std::unique_lock lock(mutex_);
      for (;;) {
        changed_.wait(lock, [&] { return !tasks_.empty(); });
        std::packaged_task<int()> task = std::move(tasks_.front());
        tasks_.pop();
        lock.unlock();
        task();
        lock.lock();
      }
    }).detach();
  }

  std::mutex mutex_;  // guards tasks_
  std::condition_variable changed_;
  std::queue<std::packaged_task<int()>> tasks_;
};

struct SpawnActions {
  SpawnActions() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

}  // namespace

fs::path runner_file() {
  fs::path file;
  if (const char* named = std::getenv("EPHOR_RUNNER"); named != nullptr && *named != '\0') {
    file = named;
  } else {
    std::error_code ignored;
    const fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
    file = folder / "ephor-runner";  // as built; installed, it lies where nobody types it
    if (!fs::exists(file, ignored)) file = folder.parent_path() / "lib/ephor/ephor-runner";
  }
  if (::access(file.c_str(), X_OK) != 0) {
    throw HostError(EPHOR_NOT_FOUND,
                    file.string() + ": " + std::strerror(errno) +
                        ", expected the program that runs isolated plugins "
                        "(beside ephor, in ../lib/ephor, or named by EPHOR_RUNNER)");
  }
  return file;
}

pid_t start_program(const fs::path& file, const std::vector<std::string>& arguments,
                    const std::vector<int>& kept, int output) {
  SpawnActions actions;
  constexpr int kFirst = 3;
  ::posix_spawn_file_actions_addopen(&actions.files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions.files, output >= 0 ? output : 2, 1);
  // First out of the way, then into place: a kept descriptor may itself be 3 or 4.
  std::vector<int> moved;
  for (const int descriptor : kept) {
    const int high = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 64);
    if (high >= 0) moved.push_back(high);
  }
  struct Closed {
    std::vector<int>& descriptors;
    ~Closed() {
      for (const int descriptor : descriptors) ::close(descriptor);
    }
  } const closed{moved};
  if (moved.size() != kept.size()) {
    throw HostError(EPHOR_IO, std::string("starting a process: ") + std::strerror(errno));
  }
  for (std::size_t i = 0; i < moved.size(); ++i) {
    ::posix_spawn_file_actions_adddup2(&actions.files, moved[i], kFirst + static_cast<int>(i));
  }
  ::posix_spawn_file_actions_addclosefrom_np(&actions.files,
                                             kFirst + static_cast<int>(moved.size()));
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&actions.attributes, &none);
  ::posix_spawnattr_setsigdefault(&actions.attributes, &all);
  ::posix_spawnattr_setpgroup(&actions.attributes, 0);
  ::posix_spawnattr_setflags(
      &actions.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> plain;
  const std::string program = file.string();
  plain.push_back(const_cast<char*>(program.c_str()));
  for (const std::string& argument : arguments)
    plain.push_back(const_cast<char*>(argument.c_str()));
  plain.push_back(nullptr);
  pid_t id = -1;
  const int failure = Starter::instance().run([&] {
    return ::posix_spawn(&id, program.c_str(), &actions.files, &actions.attributes, plain.data(),
                         environ);
  });
  if (failure != 0) throw HostError(EPHOR_IO, program + ": " + std::strerror(failure));
  return id;
}

std::string described_end(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    const char* text = ::sigdescr_np(signal);
    return "signal " + std::to_string(signal) + " (" + (text != nullptr ? text : "unknown") + ")";
  }
  return "exit status " + std::to_string(WEXITSTATUS(wait_status));
}

ChildProcess::~ChildProcess() { reap(0); }

void ChildProcess::kill() {
  const std::scoped_lock lock(mutex_);
  if (!is_reaped_) ::kill(id_, SIGKILL);
}

std::uint64_t ChildProcess::resident_bytes() const {
  const std::scoped_lock lock(mutex_);
  if (is_reaped_) return 0;
  char name[40];
  std::snprintf(name, sizeof name, "/proc/%d/statm", id_);
  const int file = ::open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128];
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0) return 0;
  text[size] = '\0';
  unsigned long long all = 0;
  unsigned long long resident = 0;
  if (std::sscanf(text, "%llu %llu", &all, &resident) != 2) return 0;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string ChildProcess::reap(std::int64_t grace_ns) {
  {
    const std::scoped_lock lock(mutex_);
    if (is_reaped_) return {};
  }
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::nanoseconds(grace_ns);
  bool is_killed = false;
  for (;;) {
    int status = 0;
    {
      const std::scoped_lock lock(mutex_);
      const pid_t found = ::waitpid(id_, &status, WNOHANG);
      if (found == id_ || (found < 0 && errno == ECHILD)) {
        is_reaped_ = true;
        if (is_killed) return "it went on without being reachable, and was killed";
        return found == id_ ? described_end(status) : "an end that somebody else waited for";
      }
    }
    if (!is_killed && Clock::now() >= deadline) {
      kill();
      is_killed = true;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

}  // namespace ephor::host::isolation
