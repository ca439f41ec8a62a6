// SPDX-License-Identifier: Apache-2.0
//
// load/*: what loading leaves in the process that everybody in it shares.
#include <functional>
#include <map>

#include <unistd.h>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/process_state.hpp"

namespace ephor::host::check {
namespace {

// `look` before and after the library is loaded and its entry called.
void stays_the_same(Context& context, const std::string& what, std::string (*look)()) {
  const std::string before = look();
  (void)context.entry();
  const std::string after = look();
  if (before != after) {
    Context::fail("that loading changed " + what + ": " + difference(before, after),
                  "it as it was");
  }
}

void starts_no_thread(Context& context) {
  const std::size_t before = threads().size();
  (void)context.entry();
  const std::size_t after = threads().size();
  Context::expect(after == before, std::to_string(after - before) + " threads after loading",
                  "none before start");
}

void starts_no_process(Context& context) {
  (void)context.entry();
  const std::size_t count = child_processes().size();
  Context::expect(count == 0, std::to_string(count) + " processes after loading", "none");
}

void prints_nothing(Context& context) {
  const auto printed = [] {
    std::fflush(nullptr);
    return ::lseek(STDOUT_FILENO, 0, SEEK_END);  // a file of memory takes both outputs
  };
  const auto before = printed();
  (void)context.entry();
  const auto after = printed();
  Context::expect(after == before, std::to_string(after - before) + " bytes printed while loading",
                  "none; a plugin logs through ephor.log/1");
}

void opens_nothing(Context& context) {
  const std::map<int, std::string> before = open_descriptors();
  (void)context.entry();
  for (const auto& [descriptor, what] : open_descriptors()) {
    if (!before.contains(descriptor)) {
      Context::fail(
          "that loading opened " + what + " (descriptor " + std::to_string(descriptor) + ")",
          "nothing open before start");
    }
  }
}

void writes_no_file(Context& context) {
  (void)context.entry();
  const std::vector<std::string> files = files_below(context.target().directory);
  if (!files.empty()) Context::fail("that loading wrote " + files[0], "no file");
}

void keeps_environment(Context& context) {
  stays_the_same(context, "the environment", &environment_text);
}
void keeps_working_directory(Context& context) {
  stays_the_same(context, "the working directory", &working_directory);
}
void keeps_umask(Context& context) { stays_the_same(context, "the umask", &umask_text); }
void keeps_locale(Context& context) { stays_the_same(context, "the locale", &locale_text); }
void keeps_floating_point(Context& context) {
  stays_the_same(context, "the floating-point mode", &floating_point_text);
}
void keeps_signals(Context& context) {
  stays_the_same(context, "signals", [] {
    std::string out = "mask " + signal_mask() + "\n";
    for (const auto& [signal, what] : signal_handlers()) {
      out += "signal " + std::to_string(signal) + " " + what + "\n";
    }
    return out;
  });
}

}  // namespace

std::vector<Check> process_checks() {
  return {
      {"load/starts_no_thread", "Loading it starts no thread.",
       "`ephor plugin inspect` and `ephor check` load it and never start it.", &starts_no_thread},
      {"load/starts_no_process", "Loading it starts no process.",
       "Nobody would wait for it or end it.", &starts_no_process},
      {"load/prints_nothing", "Loading it prints nothing.",
       "Standard output belongs to the command, whose answer may be JSON.", &prints_nothing},
      {"load/opens_nothing", "Loading it opens no file and no socket.",
       "What is opened before start is closed by nobody.", &opens_nothing},
      {"load/writes_no_file", "Loading it writes no file.",
       "Loading must be possible for who only wants to look.", &writes_no_file},
      {"load/keeps_environment", "Loading it changes no environment variable.",
       "Other threads read them at the same time; changing them crashes these.",
       &keeps_environment},
      {"load/keeps_working_directory", "Loading it changes no working directory.",
       "Every relative path of the host and of other plugins would move.",
       &keeps_working_directory},
      {"load/keeps_umask", "Loading it keeps the umask.",
       "The files of the host would get other permissions.", &keeps_umask},
      {"load/keeps_locale", "Loading it keeps the locale.",
       "Numbers of every plugin would be read and written with another decimal sign.",
       &keeps_locale},
      {"load/keeps_floating_point", "Loading it keeps rounding and denormals as they are.",
       "-ffast-math links code that flushes denormals to zero in every thread of the host: the "
       "figures of other plugins change.",
       &keeps_floating_point},
      {"load/keeps_signals", "Loading it sets no signal handler and no mask.",
       "The host drains on SIGTERM and notes crashes; a handler of a plugin takes that away.",
       &keeps_signals},
  };
}

}  // namespace ephor::host::check
