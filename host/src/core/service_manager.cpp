// SPDX-License-Identifier: Apache-2.0
#include "core/service_manager.hpp"

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace ephor::host {
namespace {

// The variable's text; it is gone then.
std::string taken(const char* name) {
  const char* found = std::getenv(name);
  const std::string text = found == nullptr ? "" : found;
  ::unsetenv(name);
  return text;
}

std::int64_t number(const std::string& text) {
  std::int64_t out = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  return failure == std::errc() && end == text.data() + text.size() ? out : 0;
}

}  // namespace

ServiceManager::ServiceManager() : address_(taken("NOTIFY_SOCKET")) {
  const std::int64_t watchdog_us = number(taken("WATCHDOG_USEC"));
  const std::string watched = taken("WATCHDOG_PID");
  if (address_.size() < 2 || address_.size() >= sizeof(sockaddr_un::sun_path) ||
      (address_[0] != '/' && address_[0] != '@')) {
    return;
  }
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const timeval patience{2, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  const bool is_meant = watched.empty() || number(watched) == ::getpid();
  if (watchdog_us > 0 && watchdog_us < INT64_MAX / 1000 && is_meant) {
    alive_interval_ns_ = watchdog_us * 1000 / 2;
  }
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) ::close(socket_);
}

void ServiceManager::ready(std::string_view text) { send("READY=1\nSTATUS=" + std::string(text)); }

void ServiceManager::stopping() { send("STOPPING=1\nSTATUS=Reading to the end and saving"); }

bool ServiceManager::wants_alive(std::int64_t monotonic_now_ns) const {
  return socket_ >= 0 && alive_interval_ns_ > 0 &&
         (last_alive_ns_ == INT64_MIN || monotonic_now_ns - last_alive_ns_ >= alive_interval_ns_);
}

void ServiceManager::alive(std::int64_t monotonic_now_ns) {
  last_alive_ns_ = monotonic_now_ns;
  send("WATCHDOG=1");
}

void ServiceManager::send(std::string_view message) const {
  if (socket_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  if (address_[0] == '@') to.sun_path[0] = '\0';  // the abstract namespace
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // A manager that is gone is no reason to fail.
  (void)::sendto(socket_, message.data(), message.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&to), size);
}

}  // namespace ephor::host
