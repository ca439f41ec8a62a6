// SPDX-License-Identifier: Apache-2.0
//
// Brings in events from a Unix stream socket: clients send NDJSON lines and get one JSON line for
// each rejected record, and one for each batch when it is durable.
//
// Back-pressure costs nothing to write: a client's thread reads no more before the host has kept
// what it read, so the socket's buffer fills and the client waits in its own send.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ephor/json_value.hpp>
#include <ephor/plugin.hpp>
#include <filesystem>
#include <list>
#include <mutex>
#include <thread>

#include "unix_socket.hpp"

namespace {

class SocketSource final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Brings in NDJSON lines from a Unix socket";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_SOURCE;
  static constexpr std::string_view kConfigSchema = R"({
    "type": "object", "additionalProperties": false, "properties": {
      "path": {"type": "string", "default": "",
        "description": "Of the socket, relative to the data directory; empty: INSTANCE.sock"},
      "source": {"type": "string", "minLength": 1, "default": "socket",
        "description": "CloudEvents source of records that name none"},
      "clients_max": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 16,
        "description": "Connections at a time; a further one is told so and closed"},
      "line_bytes_max": {"type": "integer", "minimum": 1, "maximum": 16777216, "default": 1048576,
        "description": "A longer line ends its connection"}}})";

  SocketSource(ephor::Host host, std::string_view config_text) : host_(std::move(host)) {
    const ephor::JsonValue config = ephor::parse_json_value(config_text);
    path_ = config.text_of("path", "");
    if (path_.empty()) path_ = host_.instance() + ".sock";
    source_ = config.text_of("source", "socket");
    clients_max_ = static_cast<std::size_t>(config.integer_of("clients_max", 16));
    line_bytes_max_ = static_cast<std::size_t>(config.integer_of("line_bytes_max", 1048576));
  }
  ~SocketSource() override { stop(); }

  void start() override {
    const std::string health = host_.health_snapshot();
    const std::filesystem::path folder = ephor::parse_json_value(health).text_of("data_dir", "");
    path_ = (folder / path_).string();
    listener_ = net::listen_at(path_);
    acceptor_ = std::thread([this] { accept_clients(); });
  }
  // A source ends before those who read what it brings.
  void drain(std::int64_t) override { stop(); }
  // Without start, and twice, it does nothing. Each thread waits in a call that shut_down ends.
  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      stopping_.notify_all();
      for (const Client& client : clients_) client.socket.shut_down();
    }
    listener_.shut_down();
    if (!acceptor_.joinable()) return;
    acceptor_.join();
    for (Client& client : clients_) client.thread.join();
    clients_.clear();
    listener_ = net::Descriptor();
    ::unlink(path_.c_str());
  }

 private:
  struct Client {
    net::Descriptor socket;
    std::thread thread;
    std::atomic<bool> is_done{false};
  };

  // The acceptor's thread.
  void accept_clients() {
    while (true) {
      net::Descriptor socket(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC));
      std::unique_lock lock(mutex_);
      if (is_stopping_) return;
      if (!socket.is_open()) {  // out of descriptors, say
        stopping_.wait_for(lock, kRetry, [this] { return is_stopping_; });
        continue;
      }
      std::erase_if(clients_, [](Client& client) {
        if (client.is_done) client.thread.join();
        return client.is_done.load();
      });
      if (clients_.size() >= clients_max_) {
        net::send_all(socket, "{\"error\":\"too many clients\"}\n");
        continue;
      }
      Client& client = clients_.emplace_back();
      client.socket = std::move(socket);
      client.thread = std::thread([this, &client] {
        // Whatever it is, it ends this connection and nothing else.
        if (ephor::guarded(nullptr, [&] { serve(client.socket); }) != EPHOR_OK) {
          net::send_all(client.socket, "{\"error\":\"the connection failed\"}\n");
        }
        client.socket.shut_down();
        client.is_done = true;
      });
    }
  }

  // A client's thread.
  void serve(const net::Descriptor& socket) {
    std::string bytes;
    std::uint64_t line_count = 0;  // of those that were handed over
    bool has_more = true;
    while (has_more) {
      has_more = net::receive(socket, bytes);
      if (!has_more && !bytes.empty()) bytes += '\n';  // the last line may end with the stream
      const std::size_t size = bytes.rfind('\n') + 1;
      if (size > 0 && !hand_over(socket, std::string_view(bytes).substr(0, size), line_count))
        return;
      bytes.erase(0, size);
      if (bytes.size() > line_bytes_max_) {
        net::send_all(socket, "{\"error\":\"a line is longer than line_bytes_max\"}\n");
        return;
      }
    }
  }

  // Returns when the host has kept the lines. False: the client has gone, or the plugin stops.
  bool hand_over(const net::Descriptor& socket, std::string_view lines, std::uint64_t& line_count) {
    std::string answer;
    const auto reject = [&](const ephor_rejection& rejection) {
      answer += R"({"line":)" + std::to_string(line_count + rejection.line) + R"(,"pointer":)" +
                ephor::json_quoted(ephor::to_text(rejection.json_pointer)) + R"(,"reason":)" +
                ephor::json_quoted(ephor::to_text(rejection.reason)) + "}\n";
    };
    while (true) {
      try {
        const ephor_ingest_result result = host_.ingest(lines, source_, reject, EPHOR_FORMAT_LINES);
        answer += R"({"accepted":)" + std::to_string(result.accepted) + R"(,"duplicate":)" +
                  std::to_string(result.duplicate) + R"(,"rejected":)" +
                  std::to_string(result.rejected) + "}\n";
        line_count += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
        host_.report_health(EPHOR_HEALTH_OK, "");
        return net::send_all(socket, answer);
      } catch (const ephor::Error& failure) {
        if (failure.code() != EPHOR_FULL && failure.code() != EPHOR_IO) throw;
        // Nothing was kept: the same lines again, until the host has room.
        answer.clear();
        host_.report_health(EPHOR_HEALTH_DEGRADED, failure.what());
      }
      std::unique_lock lock(mutex_);
      if (stopping_.wait_for(lock, kRetry, [this] { return is_stopping_; })) return false;
    }
  }

  static constexpr std::chrono::milliseconds kRetry{100};

  ephor::Host host_;
  std::string path_;
  std::string source_;
  std::size_t clients_max_ = 0;
  std::size_t line_bytes_max_ = 0;
  net::Descriptor listener_;
  std::thread acceptor_;

  std::mutex mutex_;  // guards all below
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::list<Client> clients_;
};

}  // namespace

EPHOR_PLUGIN(SocketSource, "socket_source")
