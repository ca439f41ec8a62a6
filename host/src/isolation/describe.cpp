// SPDX-License-Identifier: Apache-2.0
#include "isolation/describe.hpp"

#include <ephor/plugin.hpp>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "isolation/child_process.hpp"

namespace ephor::host::isolation {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kTimeout = std::chrono::seconds(10);
constexpr std::size_t kOutputBytesMax = 8U << 20;

ephor_status refuse_create(const ephor_host*, ephor_view, ephor_view, ephor_plugin*,
                           ephor_error* error) {
  return store_error(error, EPHOR_STATE, "the plugin runs in a process of its own only");
}

// The plain C structs over texts that stay.
struct Description {
  std::string id, version, summary, config_schema;
  std::deque<std::string> required, optional;
  std::vector<ephor_view> required_views, optional_views;
  ephor_plugin_info info{};
  const ephor_plugin_info* infos[1] = {&info};
  ephor_entry entry{};
};

std::vector<ephor_view> views_of(const std::deque<std::string>& texts) {
  std::vector<ephor_view> out;
  for (const std::string& text : texts) out.push_back(to_view(text));
  return out;
}

void fill(Description& out, const Json& told) {
  out.id = told.at("id");
  out.version = told.at("version");
  out.summary = told.at("summary");
  out.config_schema = told.at("config_schema");
  for (const Json& one : told.at("required_extensions")) out.required.push_back(one);
  for (const Json& one : told.at("optional_extensions")) out.optional.push_back(one);
  out.required_views = views_of(out.required);
  out.optional_views = views_of(out.optional);
  out.info = {sizeof(ephor_plugin_info),
              told.at("capabilities"),
              to_view(out.id),
              to_view(out.version),
              to_view(out.summary),
              to_view(out.config_schema),
              out.required_views.data(),
              out.optional_views.data(),
              static_cast<std::uint32_t>(out.required_views.size()),
              static_cast<std::uint32_t>(out.optional_views.size()),
              &refuse_create};
  out.entry = {EPHOR_ENTRY_MAGIC,
               sizeof(ephor_entry),
               told.at("abi_major"),
               told.at("abi_minor_built"),
               told.at("abi_minor_required"),
               1,
               out.infos};
}

struct Pipe {
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      throw HostError(EPHOR_IO, std::string("a pipe: ") + std::strerror(errno));
    }
  }
  ~Pipe() {
    close_writer();
    ::close(ends[0]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_writer() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }
  int ends[2] = {-1, -1};
};

// All that comes until the end or `deadline`; false at the deadline, or if it is too much.
bool read_all(int from, Clock::time_point deadline, std::string& out) {
  char piece[64U << 10];
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0 || out.size() > kOutputBytesMax) return false;
    pollfd waited{from, POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t got = ::read(from, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    out.append(piece, static_cast<std::size_t>(got));
  }
}

Json asked(const fs::path& file) {
  Pipe pipe;
  ChildProcess process(start_program(
      runner_file(), {"--describe", std::to_string(::getpid()), file.string()}, {}, pipe.ends[1]));
  pipe.close_writer();
  std::string output;
  const bool is_whole = read_all(pipe.ends[0], Clock::now() + kTimeout, output);
  if (!is_whole) process.kill();
  const std::string end = process.reap(1'000'000'000);
  if (!is_whole) {
    throw HostError(EPHOR_TIMEOUT, file.string() + ": found no description within " +
                                       std::to_string(kTimeout.count()) +
                                       " s, expected the plugin to say what it is");
  }
  if (end != described_end(0)) {
    throw HostError(EPHOR_INVALID, file.string() +
                                       ": loading it in a process of its own ended in " + end +
                                       ", expected a description");
  }
  return Json::parse(output, nullptr, false);
}

}  // namespace

LoadedPlugin describe_plugin(const fs::path& file) {
  struct Known {
    struct timespec changed {};
    off_t size = 0;
    Description description;
  };
  static std::mutex mutex;                                               // guards known
  static auto& known = *new std::map<std::string, std::deque<Known>>();  // never destroyed

  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    throw HostError(EPHOR_NOT_FOUND,
                    file.string() + ": " + std::strerror(errno) + ", expected a plugin");
  }
  const std::scoped_lock lock(mutex);
  std::deque<Known>& versions = known[file.string()];
  if (!versions.empty() && versions.back().size == status.st_size &&
      versions.back().changed.tv_sec == status.st_mtim.tv_sec &&
      versions.back().changed.tv_nsec == status.st_mtim.tv_nsec) {
    const Description& known_one = versions.back().description;
    return {file, &known_one.entry, &known_one.info, {}, {}, true};
  }
  const Json told = asked(file);
  if (told.is_object() && told.contains("error")) {
    throw HostError(told["error"].value("status", EPHOR_INVALID),
                    told["error"].value("message", std::string("no message")));
  }
  Known& made = versions.emplace_back();
  made.changed = status.st_mtim;
  made.size = status.st_size;
  try {
    fill(made.description, told);
  } catch (const Json::exception& failure) {
    versions.pop_back();
    throw HostError(EPHOR_INVALID,
                    file.string() + ": its description cannot be read: " + failure.what());
  }
  return {file, &made.description.entry, &made.description.info, {}, {}, true};
}

LoadedPlugin plugin_told(const fs::path& file, const Json& told) {
  auto made = std::make_unique<Description>();
  fill(*made, told);
  const Description& kept = *made.release();
  return {file, &kept.entry, &kept.info, {}, {}, true};
}

}  // namespace ephor::host::isolation
