// SPDX-License-Identifier: Apache-2.0
//
// A bare client for the tests of http_api: says exactly the bytes it is told to.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace http_api_test {

struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

inline int port_of(const std::string& url) { return std::atoi(url.c_str() + url.rfind(':') + 1); }

class Client {
 public:
  // `receive_buffer`: bytes, 0 for the system's default.
  explicit Client(int port, int receive_buffer = 0) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer > 0) {
      ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    timeval timeout{10, 0};  // a test that waits longer has failed
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect");
    }
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  // At least one more byte; false when the server has closed.
  bool receive() {
    char piece[65536];
    const auto got = ::recv(socket_, piece, sizeof piece, 0);
    if (got <= 0) return false;
    received_.append(piece, static_cast<std::size_t>(got));
    return true;
  }
  std::string take(std::size_t size) {
    while (received_.size() < size) {
      if (!receive()) throw std::runtime_error("closed after " + received_);
    }
    const std::string bytes = received_.substr(0, size);
    received_.erase(0, size);
    return bytes;
  }
  Reply reply(bool has_body = true) {
    std::size_t end = std::string::npos;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) throw std::runtime_error("closed without an answer: " + received_);
    }
    const std::string head = take(end + 4);
    Reply reply;
    reply.status = std::atoi(head.c_str() + 9);
    for (std::size_t at = head.find("\r\n") + 2; at < head.size() - 2;) {
      const std::size_t line_end = head.find("\r\n", at);
      const std::string line = head.substr(at, line_end - at);
      const std::size_t colon = line.find(": ");
      std::string name = line.substr(0, colon);
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      reply.headers[name] += line.substr(colon + 2);
      at = line_end + 2;
    }
    const auto length = reply.headers.find("content-length");
    if (has_body && length != reply.headers.end()) {
      reply.body = take(static_cast<std::size_t>(std::atoll(length->second.c_str())));
    }
    return reply;
  }
  Reply get(const std::string& target, const std::string& headers = "") {
    send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
    return reply();
  }
  Reply post(const std::string& target, const std::string& type, const std::string& body,
             const std::string& headers = "") {
    send("POST " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + type +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
    return reply();
  }
  // True when the server closes before it says anything more.
  bool is_closed() { return !receive(); }

  // ---- WebSocket
  Reply upgrade(const std::string& target = "/ws", const std::string& headers = "") {
    send("GET " + target +
         " HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         headers + "\r\n");
    return reply();
  }
  void say(std::string_view text, int opcode = 1) { send(masked(text, opcode)); }
  static std::string masked(std::string_view text, int opcode = 1) {
    std::string frame(1, static_cast<char>(0x80 | opcode));
    if (text.size() < 126) {
      frame.push_back(static_cast<char>(0x80 | text.size()));
    } else {
      frame.push_back(static_cast<char>(0xFE));
      frame.push_back(static_cast<char>(text.size() >> 8));
      frame.push_back(static_cast<char>(text.size() & 0xFF));
    }
    frame.append(4, '\0');  // a mask of zeros is a mask
    return frame.append(text);
  }
  struct Frame {
    int opcode = 0;
    std::string payload;
  };
  Frame frame() {
    const std::string head = take(2);
    std::size_t size = static_cast<unsigned char>(head[1]) & 0x7F;
    const std::size_t length_bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (length_bytes > 0) {
      size = 0;
      for (const char byte : take(length_bytes))
        size = size * 256 + static_cast<unsigned char>(byte);
    }
    return {static_cast<unsigned char>(head[0]) & 0x0F, take(size)};
  }
  // The next message: on a slow machine a ping may come before it.
  std::string hear() {
    for (;;) {
      Frame next = frame();
      if (next.opcode != 0x9) return std::move(next.payload);
    }
  }

 private:
  int socket_ = -1;
  std::string received_;
};

}  // namespace http_api_test
