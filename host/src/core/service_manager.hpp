// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ephor::host {

// What a service manager such as systemd is told: ready, stopping, alive. It speaks the
// protocol of sd_notify(3), datagrams to the socket NOTIFY_SOCKET names; without one, it does
// nothing. A manager that does not listen costs 2 s and is no error. Not thread-safe.
class ServiceManager {
 public:
  // Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment:
  // they are this process's and not its children's. Call it before there are other threads.
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // `text`: shown by `systemctl status`.
  void ready(std::string_view text);
  void stopping();

  // How often the manager wants to hear of it: half of WATCHDOG_USEC; 0 for never.
  std::int64_t alive_interval_ns() const { return alive_interval_ns_; }
  // True if that long has passed since the last alive() and somebody listens.
  bool wants_alive(std::int64_t monotonic_now_ns) const;
  void alive(std::int64_t monotonic_now_ns);

 private:
  void send(std::string_view message) const;

  int socket_ = -1;
  std::string address_;  // "/path" or "@abstract"
  std::int64_t alive_interval_ns_ = 0;
  std::int64_t last_alive_ns_ = INT64_MIN;
};

}  // namespace ephor::host
