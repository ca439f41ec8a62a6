// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr std::size_t kPieceBytes = 16 * 1024;
// What an idle connection may keep of its buffer: the next head will fit.
constexpr std::size_t kKeptBytesMax = 1024;

// Without waiting: 0 and EAGAIN look alike otherwise, so the end is -1 and nothing is 0.
int receive_at_once(int socket, char* to, std::size_t capacity) {
  for (;;) {
    const ssize_t got = ::recv(socket, to, capacity, MSG_DONTWAIT);
    if (got > 0) return static_cast<int>(got);
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
  }
}

}  // namespace

Connection::Connection(int socket, Entrance entrance, Watchdog& watchdog)
    : socket_(socket), entrance_(entrance), watch_(watchdog, socket) {}

// The watchdog is told before the descriptor can be somebody else's; members die after this body.
Connection::~Connection() {
  watch_.end();
  ::close(socket_);
}

Connection::Heard Connection::listen() {
  std::array<char, kPieceBytes> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  const int got = receive_at_once(socket_, piece.data(), piece.size());
  if (got < 0) return Heard::end;
  if (got == 0) return Heard::nothing;
  if (used_ > 0) received_.erase(0, std::exchange(used_, 0));
  received_.append(piece.data(), static_cast<std::size_t>(got));
  return Heard::bytes;
}

Connection::Heard Connection::ignore() {
  std::array<char, kPieceBytes> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  constexpr int kReadsMax = 16;         // others want their turn
  for (int i = 0; i < kReadsMax; ++i) {
    const int got = receive_at_once(socket_, piece.data(), piece.size());
    if (got < 0) return Heard::end;
    if (got == 0) return Heard::nothing;
  }
  return Heard::bytes;
}

std::size_t Connection::head_size() {
  std::size_t blank = 0;
  const std::string_view bytes = received();
  while (blank < bytes.size() && (bytes[blank] == '\r' || bytes[blank] == '\n')) ++blank;
  if (blank > 0) use(blank);
  return http_api::head_size(received(), scanned_);
}

void Connection::use(std::size_t bytes) {
  used_ += bytes;
  scanned_ = 0;
  if (used_ < received_.size()) return;
  used_ = 0;
  received_.clear();
  if (received_.capacity() > kKeptBytesMax) std::string().swap(received_);
}

void Connection::ask_for_body() {
  if (!expects_continue_) return;
  expects_continue_ = false;
  send("HTTP/1.1 100 Continue\r\n\r\n");
}

std::size_t Connection::read(char* to, std::size_t capacity) {
  if (const std::string_view bytes = received(); !bytes.empty()) {
    const std::size_t size = bytes.copy(to, capacity);
    use(size);
    return size;
  }
  ask_for_body();
  constexpr std::size_t kReadMax = 1U << 30U;
  for (;;) {
    const ssize_t got = ::recv(socket_, to, std::min(capacity, kReadMax), 0);
    if (got < 0 && errno == EINTR) continue;
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }
}

int Connection::get() {
  if (received().empty()) {
    std::array<char, kPieceBytes> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    const std::size_t got = read(piece.data(), piece.size());
    if (got == 0) return -1;
    received_.assign(piece.data(), got);
  }
  const auto byte = static_cast<unsigned char>(received().front());
  use(1);
  return byte;
}

void Connection::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      throw std::system_error(errno, std::generic_category(), "send");
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Connection::send_at_once(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Connection::end_sending() const { ::shutdown(socket_, SHUT_WR); }

}  // namespace ephor::http_api
