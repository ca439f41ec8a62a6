// SPDX-License-Identifier: Apache-2.0
//
// A client's side of HTTP/1.1 that costs little itself: one blocking socket, kept alive, one send a
// request. Answers need a Content-Length (204 needs none).
#pragma once

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::bench {

struct Address {
  std::string host = "127.0.0.1";
  std::string port = "8780";
};

// "http://HOST:PORT[/...]"; throws std::runtime_error on anything else.
inline Address address_of(const std::string& url) {
  std::string rest = url.starts_with("http://") ? url.substr(7) : url;
  rest = rest.substr(0, rest.find('/'));
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) throw std::runtime_error("--url: expected http://HOST:PORT");
  return {rest.substr(0, colon), rest.substr(colon + 1)};
}

class Connection {
 public:
  explicit Connection(Address address) : address_(std::move(address)) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends one request and reads its answer's body. Returns the status.
  int exchange(std::string_view request, std::string& body) {
    if (socket_ < 0) connect();
    while (!request.empty()) {
      const ssize_t sent = ::send(socket_, request.data(), request.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw std::runtime_error("the server closed the connection");
      request.remove_prefix(static_cast<std::size_t>(sent));
    }
    std::size_t head_end = std::string::npos;
    while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) receive();
    const std::string head = received_.substr(0, head_end);
    const std::size_t field = head.find("Content-Length: ");
    const std::size_t length =
        field == std::string::npos ? 0 : std::strtoull(head.c_str() + field + 16, nullptr, 10);
    while (received_.size() < head_end + 4 + length) receive();
    body = received_.substr(head_end + 4, length);
    received_.erase(0, head_end + 4 + length);
    if (head.find("Connection: close") != std::string::npos) close();
    return std::atoi(head.c_str() + 9);
  }

 private:
  void connect() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(address_.host.c_str(), address_.port.c_str(), &hints, &found) != 0) {
      throw std::runtime_error(address_.host + ": no such host");
    }
    socket_ = ::socket(found->ai_family, SOCK_STREAM, 0);
    const bool is_connected = ::connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!is_connected) {
      throw std::runtime_error("cannot connect to " + address_.host + ":" + address_.port);
    }
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    received_.clear();
  }
  void receive() {
    char piece[16 * 1024];
    const ssize_t got = ::recv(socket_, piece, sizeof piece, 0);
    if (got <= 0) throw std::runtime_error("the server closed the connection");
    received_.append(piece, static_cast<std::size_t>(got));
  }
  const Address address_;
  int socket_ = -1;
  std::string received_;
};

// Of this process so far.
inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Nearest rank; 0 of nothing.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

}  // namespace ephor::bench
