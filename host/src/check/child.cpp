// SPDX-License-Identifier: Apache-2.0
#include "check/child.hpp"

#include <csignal>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "check/check.hpp"
#include "check/context.hpp"

namespace ephor::host::check {
namespace {

constexpr int kStatus = 3;
constexpr int kOutput = 4;

[[noreturn]] void end_with(const Json& result) {
  std::fflush(nullptr);
  const std::string text = result.dump(-1, ' ', false, Json::error_handler_t::replace);
  const bool is_written = ::pwrite(kStatus, text.data(), text.size(), StepBoard::kBytes) ==
                          static_cast<ssize_t>(text.size());
  ::_exit(is_written ? 0 : 1);
}

void limit(int resource, rlim_t value) {
  struct rlimit both {
    value, value
  };
  ::setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

Json result_of(Outcome outcome, const std::string& message) {
  return {{"outcome", static_cast<int>(outcome)}, {"message", message}};
}

Json judged(const Check& check, Context& context) {
  try {
    check.run(context);
    return result_of(Outcome::passed, context.noted());
  } catch (const Skipped& why) {
    return result_of(Outcome::skipped, why.what());
  } catch (const Blocked& by) {
    return result_of(Outcome::blocked, by.what());
  } catch (const std::exception& failure) {  // Failed, and what a check did not expect
    return result_of(Outcome::failed, failure.what());
  }
}

}  // namespace

void run_child(std::string_view name, std::string_view order_text) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* memory = ::mmap(nullptr, StepBoard::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, kStatus, 0);
  const Json order = Json::parse(order_text, nullptr, false);
  if (memory == MAP_FAILED || !order.is_object()) ::_exit(1);
  ::dup2(kOutput, STDOUT_FILENO);
  ::dup2(kOutput, STDERR_FILENO);
  for (const int descriptor : {kStatus, kOutput}) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);

  Target target{order.at("file").get<std::string>(), order.at("directory").get<std::string>(),
                std::nullopt, order.at("seed").get<std::uint64_t>()};
  if (order.contains("config")) target.config = order["config"];
  target.timeout_s = order.value("timeout_s", target.timeout_s);
  const std::string directory = target.directory.string();
  if (::chdir(directory.c_str()) != 0) ::_exit(1);
  ::setenv("TMPDIR", directory.c_str(), 1);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 1ULL << 30);
  if (const auto bytes = order.value("memory_bytes", std::uint64_t{0}); bytes != 0) {
    limit(RLIMIT_AS, bytes);
  }
  if (const auto seconds = order.value("cpu_seconds", std::uint64_t{0}); seconds != 0) {
    limit(RLIMIT_CPU, seconds);
  }
  for (const Check& check : all_checks()) {
    if (check.name != name) continue;
    // Never destroyed: it would unload what may still run.
    Context& context = *new Context(std::move(target), name, StepBoard(static_cast<char*>(memory)));
    end_with(judged(check, context));
  }
  end_with(result_of(Outcome::failed,
                     "found no check of this name in ephor-checker, expected one "
                     "(is it of another version than ephor?)"));
}

}  // namespace ephor::host::check
