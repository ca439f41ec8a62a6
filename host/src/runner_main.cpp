// SPDX-License-Identifier: Apache-2.0
//
// ephor-runner: what the host starts for a plugin with `isolation: process`.
//   ephor-runner --serve HOST_PROCESS OPEN_FILES INSTANCE   (descriptors 3 and 4 from the host)
//   ephor-runner --describe HOST_PROCESS FILE
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "isolation/runner.hpp"

namespace {

void set_limit(__rlimit_resource_t what, rlim_t value) {
  rlimit limit{};
  ::getrlimit(what, &limit);
  limit.rlim_cur = value;
  if (value < limit.rlim_max || limit.rlim_max == RLIM_INFINITY) limit.rlim_max = value;
  ::setrlimit(what, &limit);
}

// Ends with the host, whatever happens to that; signals meant for the host's group are the host's.
void bind_to_host(int host) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != host) ::_exit(0);  // it has gone already
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  set_limit(RLIMIT_CORE, 0);
  // When memory runs out, a plugin goes before the host. Raising it needs no right.
  const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (::write(file, "500", 3) < 0) {  // then the kernel decides by size alone
  }
  ::close(file);
}

int usage() {
  std::fputs("ephor-runner: started by ephor for plugins with isolation: process\n", stderr);
  return 2;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return usage();
  const std::string_view command = arguments[1];
  bind_to_host(std::atoi(arguments[2]));
  try {
    if (command == "--describe") {
      const int output = ::dup(1);
      ::dup2(2, 1);  // what the library prints is not the description
      ephor::host::isolation::describe_to(output, arguments[3]);
      ::_exit(0);
    }
    if (command != "--serve") return usage();
    if (const long files = std::atol(arguments[3]); files > 0) {
      set_limit(RLIMIT_NOFILE, static_cast<rlim_t>(files));
    }
    ephor::host::isolation::serve_plugin();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "ephor-runner: %s\n", failure.what());
    return 1;
  }
}
