// SPDX-License-Identifier: Apache-2.0
//
// The system calls of a Unix stream socket, with errors that say where.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <ephor/plugin.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace net {

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  // Whoever waits in accept, receive or send comes back from it.
  void shut_down() const { ::shutdown(number_, SHUT_RDWR); }

 private:
  int number_;
};

[[noreturn]] inline void fail(const std::string& path) {
  throw std::system_error(errno, std::generic_category(), path);
}

// A socket that only its owner may connect to. What a dead process left at `path` is taken away;
// where somebody answers, it throws ephor::Error(EPHOR_CONFLICT).
inline Descriptor listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw ephor::Error(EPHOR_INVALID,
                       "path: found " + std::to_string(path.size()) + " bytes, expected at most " +
                           std::to_string(sizeof address.sun_path - 1),
                       "/path");
  }
  path.copy(address.sun_path, path.size());
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  Descriptor made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made.is_open()) fail(path);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
    if (::connect(made.number(), where, sizeof address) == 0) {
      throw ephor::Error(EPHOR_CONFLICT, path + ": found somebody who listens there", "/path");
    }
    ::unlink(path.c_str());
  }
  if (::bind(made.number(), where, sizeof address) != 0) fail(path);
  if (::chmod(path.c_str(), 0600) != 0) fail(path);  // nobody can connect before listen
  if (::listen(made.number(), 16) != 0) fail(path);
  return made;
}

// False: the other side has gone.
inline bool send_all(const Descriptor& to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Appends what has come. False: there is no more.
inline bool receive(const Descriptor& from, std::string& bytes) {
  char chunk[65536];
  ssize_t size = 0;
  do {
    size = ::recv(from.number(), chunk, sizeof chunk, 0);
  } while (size < 0 && errno == EINTR);
  if (size > 0) bytes.append(chunk, static_cast<std::size_t>(size));
  return size > 0;
}

}  // namespace net
