// SPDX-License-Identifier: Apache-2.0
//
// Programs the host starts: found, started, watched, ended and waited for.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::isolation {

// ephor-runner: EPHOR_RUNNER, or beside this program, or in ../lib/ephor. Throws HostError naming
// the file.
std::filesystem::path runner_file();

// Starts it with the descriptors of `kept` as 3, 4, ... and standard error; everything else is
// closed, standard input is empty, standard output is standard error unless `output` >= 0. It gets
// a process group of its own, so that a Ctrl-C meant for the host does not reach it. [any]; the
// child dies with this process, not with the calling thread. Throws HostError.
pid_t start_program(const std::filesystem::path& file, const std::vector<std::string>& arguments,
                    const std::vector<int>& kept, int output = -1);

// "signal 11 (Segmentation fault)" or "exit status 3"; of what waitpid gave.
std::string described_end(int wait_status);

// A started child. One thread waits for its end with `reap`; the others look and kill.
class ChildProcess {
 public:
  explicit ChildProcess(pid_t id) : id_(id) {}
  ~ChildProcess();  // kills and waits
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int id() const { return id_; }
  void kill();                           // [any] SIGKILL, if it has not been waited for
  std::uint64_t resident_bytes() const;  // [any] 0 once it has ended
  // Waits for its end, at most `grace_ns`, then kills it. How it ended.
  std::string reap(std::int64_t grace_ns);

 private:
  const pid_t id_;
  mutable std::mutex mutex_;  // guards is_reaped_: its number may then be another's
  bool is_reaped_ = false;
};

}  // namespace ephor::host::isolation
