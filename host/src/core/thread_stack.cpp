// SPDX-License-Identifier: Apache-2.0
#include "core/thread_stack.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace ephor::host {
namespace {

constexpr int kFramesMax = 64;

// What the handler fills. A thread that answers too late writes here once more; it harms nobody.
std::array<void*, kFramesMax> frames;
std::atomic<int> frame_count{-1};

void on_ask(int) {
  const int before = errno;
  frame_count.store(::backtrace(frames.data(), kFramesMax), std::memory_order_release);
  errno = before;
}

// "function (file+0xoffset)"; most functions of a plugin have no name here, addr2line knows them.
std::string name_of(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "?";
  char place[32];
  std::snprintf(
      place, sizeof place, "+0x%zx",
      static_cast<std::size_t>(static_cast<char*>(address) - static_cast<char*>(info.dli_fbase)));
  std::string text = " (" + std::string(info.dli_fname) + place + ")";
  if (info.dli_sname == nullptr) return "?" + text;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
  return (status == 0 ? name.get() : info.dli_sname) + text;
}

}  // namespace

std::vector<std::string> stack_of_thread(pid_t thread_id) {
  static std::mutex one_at_a_time;
  const std::scoped_lock lock(one_at_a_time);
  static const int kSignal = [] {
    void* first = nullptr;
    ::backtrace(&first, 1);  // loads what it needs here, not in the handler
    struct sigaction action {};
    action.sa_handler = on_ask;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    const int signal = SIGRTMIN + 3;
    ::sigaction(signal, &action, nullptr);
    return signal;
  }();
  frame_count.store(-1);
  if (::syscall(SYS_tgkill, ::getpid(), thread_id, kSignal) != 0) return {};
  constexpr int kLooks = 200;
  for (int i = 0; i < kLooks && frame_count.load(std::memory_order_acquire) < 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const int count = frame_count.load(std::memory_order_acquire);
  std::vector<std::string> names;
  constexpr int kOwnFrames = 2;  // the handler and the kernel's way back
  for (int i = kOwnFrames; i < count; ++i) {
    names.push_back(name_of(frames[static_cast<std::size_t>(i)]));
  }
  return names;
}

void make_thread_idle(pid_t thread_id) {
  const sched_param none{};
  if (::sched_setscheduler(thread_id, SCHED_IDLE, &none) != 0) {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(thread_id), 19);
  }
}

}  // namespace ephor::host
