// SPDX-License-Identifier: Apache-2.0
#include "core/crash_note.hpp"

#include <ephor/abi.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/call_board.hpp"
#include "core/logger.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// For the handler, which may touch nothing else.
volatile sig_atomic_t note_descriptor = -1;
std::array<struct sigaction, kSignals.size()> actions_before{};

// Writes text without allocating.
class Line {
 public:
  void add(const char* text) {
    while (*text != '\0' && size_ < sizeof bytes_) bytes_[size_++] = *text++;
  }
  void add(std::uint64_t number) {
    char digits[24];
    std::size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    add(digits + at);
  }
  void write_to(int descriptor) const {
    [[maybe_unused]] const ssize_t written = ::write(descriptor, bytes_, size_);
  }

 private:
  char bytes_[512];
  std::size_t size_ = 0;
};

// The library of a plugin that the thread is in, when the host did not call it: a thread of its
// own. Not all of this is promised to work in a handler, but there is nothing left to lose.
const char* plugin_library() {
  static void* frames[48];
  const int count = ::backtrace(frames, static_cast<int>(std::size(frames)));
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (::dladdr(frames[i], &info) == 0 || info.dli_fname == nullptr) continue;
    const char* slash = std::strrchr(info.dli_fname, '/');
    const char* name = slash != nullptr ? slash + 1 : info.dli_fname;
    const std::size_t size = std::strlen(name);
    const bool is_plugin =
        size > 3 && std::strcmp(name + size - 3, ".so") == 0 && std::strncmp(name, "lib", 3) != 0;
    if (is_plugin) return name;
  }
  return "";
}

void on_crash(int signal, siginfo_t* info, void*) {
  const int descriptor = note_descriptor;
  note_descriptor = -1;  // once
  const CrashedCall call = CrashedCall::of_this_thread();
  Line line;
  line.add(static_cast<std::uint64_t>(signal));
  line.add("\n");
  line.add(call.instance != nullptr ? call.instance : "");
  line.add("\n");
  line.add(call.what != nullptr ? call.what : "");
  line.add("\n");
  line.add(call.sequence);
  line.add("\n");
  line.add(call.instance == nullptr ? plugin_library() : "");
  line.add("\n");
  if (descriptor >= 0) line.write_to(descriptor);
  if (call.instance != nullptr) {
    Line said;
    said.add("ephor: crashed in plugin ");
    said.add(call.instance);
    said.add(", ");
    said.add(call.what);
    said.add("\n");
    said.write_to(STDERR_FILENO);
  }
  // On return the instruction runs again, into whatever was there before: a core, a sanitizer.
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i] == signal) ::sigaction(signal, &actions_before[i], nullptr);
  }
  // One that was sent has no instruction that would do it again.
  if (signal == SIGABRT || info->si_code <= 0) ::raise(signal);
}

fs::path note_of(const fs::path& data_dir) { return data_dir / "crash"; }

}  // namespace

std::string Crash::text() const {
  std::string out =
      "the host crashed with signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  if (instance.empty() && !module.empty()) return out + " in a thread of " + module;
  if (instance.empty()) return out + " outside of any plugin";
  out += " in plugin " + instance + ", " + what;
  if (sequence != 0) out += ", in the slice from sequence " + std::to_string(sequence);
  return out;
}

CrashNote::CrashNote(const fs::path& data_dir) : path_(note_of(data_dir)) {
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) throw HostError(EPHOR_IO, path_.string() + ": " + std::strerror(errno));
  note_descriptor = descriptor;
  void* first = nullptr;
  ::backtrace(&first, 1);  // loads what it needs now, not in the handler
  need_signal_stack();
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction action {};
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    ::sigaction(kSignals[i], &action, &actions_before[i]);
  }
}

CrashNote::~CrashNote() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &actions_before[i], nullptr);
  }
  const int descriptor = note_descriptor;
  note_descriptor = -1;
  if (descriptor >= 0) ::close(descriptor);
  std::error_code ignored;
  fs::remove(path_, ignored);
}

std::optional<Crash> CrashNote::take(const fs::path& data_dir) {
  std::ifstream in(note_of(data_dir));
  Crash crash;
  std::string number;
  if (!std::getline(in, number) || !std::getline(in, crash.instance) ||
      !std::getline(in, crash.what)) {
    return std::nullopt;
  }
  std::istringstream(number) >> crash.signal;
  in >> crash.sequence >> crash.module;
  std::error_code ignored;
  fs::remove(note_of(data_dir), ignored);
  return crash;
}

void need_signal_stack() {
  constexpr std::size_t kBytes = 64U << 10;
  struct Stack {
    std::unique_ptr<char[]> bytes;
    Stack() {
      stack_t current{};
      if (::sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) == 0) return;
      bytes = std::make_unique<char[]>(kBytes);
      stack_t mine{};
      mine.ss_sp = bytes.get();
      mine.ss_size = kBytes;
      ::sigaltstack(&mine, nullptr);
    }
    ~Stack() {
      if (bytes == nullptr) return;
      stack_t none{};
      none.ss_flags = SS_DISABLE;
      ::sigaltstack(&none, nullptr);
    }
  };
  thread_local const Stack kStack;
}

// ---- the history --------------------------------------------------------------------------------

CrashHistory::CrashHistory(const fs::path& data_dir) : path_(data_dir / "crashes.json") {
  std::ifstream in(path_);
  if (!in) return;
  const Json read = Json::parse(in, nullptr, false);
  if (!read.is_object()) {
    log(EPHOR_LOG_WARNING, kHostName, path_.string() + ": found no JSON object; it begins anew");
    return;
  }
  for (const auto& [instance, one] : read.items()) {
    if (!one.is_object()) continue;
    entries_[instance] = {one.value("count", 0U), one.value("last_ns", std::int64_t{0}),
                          one.value("last", std::string()), one.value("last_call", std::string()),
                          one.value("epoch", std::string())};
  }
}

void CrashHistory::store() const {
  Json out = Json::object();
  for (const auto& [instance, entry] : entries_) {
    out[instance] = {{"count", entry.count},
                     {"last_ns", entry.last_ns},
                     {"last", entry.last},
                     {"last_call", entry.last_call},
                     {"epoch", entry.epoch}};
  }
  const fs::path made = path_.string() + ".new";
  std::ofstream file(made);
  file << out.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  file.close();
  std::error_code failure;
  if (file) fs::rename(made, path_, failure);
  if (!file || failure) log(EPHOR_LOG_WARNING, kHostName, path_.string() + ": cannot be written");
}

void CrashHistory::add(const Crash& crash, std::int64_t now_ns) {
  if (crash.instance.empty()) return;
  Entry& entry = entries_[crash.instance];
  if (now_ns - entry.last_ns > kMemoryNs) entry.count = 0;
  ++entry.count;
  entry.last_ns = now_ns;
  entry.last = crash.text();
  entry.last_call = crash.what;
  store();
}

CrashHistory::Record CrashHistory::of(const std::string& instance, const std::string& epoch,
                                      std::int64_t now_ns) {
  const auto found = entries_.find(instance);
  if (found == entries_.end()) return {};
  Entry& entry = found->second;
  const bool is_other = !entry.epoch.empty() && entry.epoch != epoch;
  if (is_other || now_ns - entry.last_ns > kMemoryNs) {
    entries_.erase(found);
    store();
    return {};
  }
  if (entry.epoch.empty()) {
    entry.epoch = epoch;
    store();
  }
  return {entry.count, entry.last, entry.last_call};
}

void CrashHistory::forget(const std::string& instance) {
  if (entries_.erase(instance) != 0) store();
}

}  // namespace ephor::host
