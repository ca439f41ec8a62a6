// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace ephor::host {

// The functions another thread of this process is in, innermost first, demangled where they have
// names; empty if it does not answer (it blocks signals, or hangs in the kernel). One caller at a
// time; others queue. Waits at most 200 ms. The thread is interrupted by a signal.
std::vector<std::string> stack_of_thread(pid_t thread_id);

// Its share of the processor becomes what nobody else wants (SCHED_IDLE): it can be neither killed
// nor stopped, but it need not slow the others down.
void make_thread_idle(pid_t thread_id);

}  // namespace ephor::host
