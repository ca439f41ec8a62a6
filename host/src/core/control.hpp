// SPDX-License-Identifier: Apache-2.0
//
// DATA_DIR/control.sock (0600): how the command line talks to a running host. One request, a line
// of JSON {"command": ..., ...}; then lines of JSON back: {"line": ...} any number of times, and
// {"ok": true, "answer": ...} or {"ok": false, "status": ..., "message": ...} at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/host.hpp"

namespace ephor::host {

class ControlServer {
 public:
  // Reads the configuration again and applies it; the answer says what was done.
  using Reload = std::function<nlohmann::json()>;
  // Throws HostError if the socket cannot be made. `host` outlives it.
  ControlServer(Host& host, const std::filesystem::path& data_dir, Reload reload);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Connection {
    std::thread thread;
    std::atomic<bool> is_done{false};
  };
  void accept_loop();
  void serve(int descriptor);
  nlohmann::json answer(const nlohmann::json& request, int descriptor);
  void tap(const nlohmann::json& request, int descriptor);

  Host& host_;
  const std::filesystem::path path_;
  const Reload reload_;
  int listener_ = -1;
  std::atomic<bool> is_stopping_{false};
  std::list<Connection> connections_;  // of the accepting thread
  std::thread thread_;
};

// The answer of the host that runs on `data_dir`; empty if none does. `on_line` gets the lines of a
// streaming command. Throws HostError with the host's own words.
std::optional<nlohmann::json> ask_running_host(
    const std::filesystem::path& data_dir, const nlohmann::json& request,
    const std::function<void(const nlohmann::json&)>& on_line = {});

}  // namespace ephor::host
