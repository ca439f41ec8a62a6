// SPDX-License-Identifier: Apache-2.0
#include "core/control.hpp"

#include <ephor/json.hpp>
#include <ephor/plugin.hpp>

#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/topic_filter.hpp"
#include "core/backup.hpp"
#include "core/export.hpp"
#include "core/logger.hpp"
#include "event/error.hpp"
#include "event/event_json.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kRequestBytesMax = 4U << 20;
constexpr int kPollMs = 200;

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

// sun_path holds 108 bytes; a longer path is reached through the directory's descriptor.
sockaddr_un address_of(const fs::path& path, const Descriptor& directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) {
    text = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + path.filename().string();
  }
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  return address;
}

int open_directory(const fs::path& path) {
  return ::open(path.parent_path().c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC);
}

bool send_line(int descriptor, const Json& line) {
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t count = ::send(descriptor, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

// The next line; false at the end, on an error, above the bound, or when `should_stop` says so.
class LineReader {
 public:
  explicit LineReader(int descriptor) : descriptor_(descriptor) {}

  bool next(std::string& line, const std::function<bool()>& should_stop) {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
      }
      pollfd waiting{descriptor_, POLLIN, 0};
      const int ready = ::poll(&waiting, 1, kPollMs);
      if (should_stop && should_stop()) return false;
      if (ready < 0 && errno != EINTR) return false;
      if (ready <= 0) continue;
      char bytes[65536];
      const ssize_t count = ::recv(descriptor_, bytes, sizeof bytes, 0);
      if (count <= 0) return false;
      buffer_.append(bytes, static_cast<std::size_t>(count));
      if (buffer_.size() > kRequestBytesMax && buffer_.find('\n') == std::string::npos &&
          is_bounded) {
        return false;
      }
    }
  }
  bool is_bounded = true;

 private:
  int descriptor_;
  std::string buffer_;
};

Json failure(ephor_status status, const std::string& message) {
  return {{"ok", false}, {"status", status}, {"message", message}};
}

}  // namespace

ControlServer::ControlServer(Host& host, const fs::path& data_dir, Reload reload)
    : host_(host), path_(data_dir / "control.sock"), reload_(std::move(reload)) {
  const Descriptor directory(open_directory(path_));
  const sockaddr_un address = address_of(path_, directory);
  ::unlink(path_.c_str());  // of a host that died; the directory's lock says that none runs
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const mode_t before = ::umask(0177);
  const bool is_bound =
      listener_ >= 0 &&
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(listener_, 16) == 0;
  const int why = errno;
  ::umask(before);
  if (!is_bound) {
    if (listener_ >= 0) ::close(listener_);
    throw HostError(EPHOR_IO, path_.string() + ": " + std::strerror(why));
  }
  thread_ = std::thread([this] { accept_loop(); });
}

ControlServer::~ControlServer() {
  is_stopping_ = true;
  thread_.join();
  ::close(listener_);
  ::unlink(path_.c_str());
}

void ControlServer::accept_loop() {
  while (!is_stopping_) {
    pollfd waiting{listener_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, kPollMs);
    connections_.remove_if([](Connection& connection) {
      if (!connection.is_done) return false;
      connection.thread.join();
      return true;
    });
    if (ready <= 0) continue;
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor < 0) continue;
    Connection& connection = connections_.emplace_back();
    connection.thread = std::thread([this, descriptor, &connection] {
      serve(descriptor);
      ::close(descriptor);
      connection.is_done = true;
    });
  }
  for (Connection& connection : connections_) connection.thread.join();
}

void ControlServer::serve(int descriptor) {
  LineReader lines(descriptor);
  std::string line;
  while (lines.next(line, [this] { return is_stopping_.load(); })) {
    Json reply;
    try {
      reply = {{"ok", true}, {"answer", answer(parse_json(line, "request"), descriptor)}};
    } catch (const HostError& failed) {
      reply = failure(failed.status(), failed.what());
    } catch (const Error& failed) {
      reply = failure(failed.code(), failed.what());
    } catch (const Json::exception& failed) {
      reply = failure(EPHOR_INVALID, failed.what());
    } catch (const std::exception& failed) {
      reply = failure(EPHOR_INTERNAL, failed.what());
    }
    if (!send_line(descriptor, reply)) return;
  }
}

Json ControlServer::answer(const Json& request, int descriptor) {
  const std::string command = request.at("command");
  if (command == "query") {
    const std::string text = host_.query(request.at("name").get<std::string>(),
                                         request.value("request", Json::object()).dump(),
                                         request.value("after_sequence", std::uint64_t{0}));
    return text;
  }
  if (command == "queries") {
    Json out = Json::array();
    for (const QueryEntry& query : host_.registry().queries()) {
      out.push_back({{"name", query.name}, {"summary", query.summary}});
    }
    return out;
  }
  if (command == "status") return Json::parse(host_.status_json());
  if (command == "reload") return reload_();
  if (command == "release") {
    host_.release(request.at("instance").get<std::string>());
    return nullptr;
  }
  if (command == "backup") {
    const BackupSource source{host_.settings().data_dir, host_.settings().database_url.empty(),
                              wall_clock_ns()};
    return make_backup(source, request.at("file").get<std::string>(), host_.upkeep().hold_still());
  }
  if (command == "tap") {
    tap(request, descriptor);
    return nullptr;
  }
  if (command == "export") {
    settle(host_);
    export_canonical(host_, [&](std::string_view line) {
      if (!send_line(descriptor, {{"line", line}})) {
        throw HostError(EPHOR_IO, "whoever asked for the export has gone");
      }
    });
    return nullptr;
  }
  throw HostError(EPHOR_NOT_FOUND, "no command is named " + command);
}

// Every event that is committed from now on, or from `from` on, in log order; lossless, because it
// reads the journal.
void ControlServer::tap(const Json& request, int descriptor) {
  const std::string pattern = request.value("pattern", ">");
  std::uint64_t left = request.value("limit", UINT64_MAX);
  std::uint64_t from = request.value("from", host_.log().last_sequence() + 1);
  constexpr std::uint32_t kStep = 256;
  while (!is_stopping_ && left > 0) {
    bool is_open = true;
    std::uint64_t last = 0;
    const std::uint64_t head = host_.log().last_sequence();
    if (from <= head) {
      const std::uint64_t next = host_.log_reader().read(
          from, pattern, static_cast<std::uint32_t>(std::min<std::uint64_t>(kStep, left)),
          [&](const ephor_event& event) {
            if (!is_open) return;
            last = event.sequence;
            --left;
            is_open = send_line(
                descriptor, {{"line",
                              {{"sequence", event.sequence},
                               {"event", Json::parse(event_json(
                                             event, host_.names().sources.name(event.source)))}}}});
          },
          host_.names());
      from = next != 0 ? next : std::max(head, last) + 1;
    }
    pollfd waiting{descriptor, POLLIN, 0};
    const bool must_wait = from > host_.log().last_sequence();
    const int ready = ::poll(&waiting, 1, must_wait ? 20 : 0);
    if (!is_open || ready > 0) return;  // the other side has gone, or wants something else
  }
}

std::optional<Json> ask_running_host(const fs::path& data_dir, const Json& request,
                                     const std::function<void(const Json&)>& on_line) {
  const fs::path path = data_dir / "control.sock";
  const Descriptor directory(open_directory(path));
  const sockaddr_un address = address_of(path, directory);
  const Descriptor connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
      0) {
    return std::nullopt;
  }
  if (!send_line(connection.get(), request)) return std::nullopt;
  LineReader lines(connection.get());
  lines.is_bounded = false;
  for (std::string line; lines.next(line, {});) {
    const Json reply = Json::parse(line);
    if (reply.contains("line")) {
      if (on_line) on_line(reply["line"]);
      continue;
    }
    if (reply.value("ok", false)) return reply["answer"];
    throw HostError(reply.value("status", EPHOR_INTERNAL), reply.value("message", "no message"));
  }
  throw HostError(EPHOR_IO, path.string() + ": the host closed the connection");
}

}  // namespace ephor::host
