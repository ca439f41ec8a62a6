// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include <Poco/DateTimeFormat.h>
#include <Poco/DateTimeFormatter.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponseImpl.h>
#include <Poco/Net/HTTPServerSession.h>
#include <Poco/Net/NetException.h>
#include <Poco/Timestamp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <functional>

#include "server.hpp"

namespace ephor::http_api {
namespace {

// An unread rest up to this size is read away, so that the connection can go on.
constexpr std::uint64_t kSkipMax = 64 * 1024;
constexpr int kLingerReadsMax = 1024;
constexpr int kLingerMs = 2000;

std::string joined(const Poco::Net::MessageHeader& header, const std::string& name) {
  std::string values;
  for (auto found = header.find(name);
       found != header.end() && Poco::icompare(found->first, name) == 0; ++found) {
    if (!values.empty()) values += ',';
    values += found->second;
  }
  return values;
}

void send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      throw Poco::Net::NetException("send", errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

// Opens what HTTPSession keeps for its streams: reads that go straight into our memory.
class Session final : public Poco::Net::HTTPServerSession, public ByteSource {
 public:
  Session(const Poco::Net::StreamSocket& socket, Poco::Net::HTTPServerParams::Ptr parameters)
      : Poco::Net::HTTPServerSession(socket, parameters) {}
  int get() override {
    ask_for_body();
    return HTTPSession::get();
  }
  std::size_t read(char* to, std::size_t capacity) override {
    ask_for_body();
    constexpr std::size_t kReadMax = 1U << 30U;
    const int got =
        HTTPSession::read(to, static_cast<std::streamsize>(std::min(capacity, kReadMax)));
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  int descriptor() { return socket().impl()->sockfd(); }
  // The client waits for "100 Continue" before it sends the body; it is sent with the first read.
  void expect_continue(bool expects) { expects_continue_ = expects; }
  bool is_waiting_for_continue() const { return expects_continue_; }

 private:
  void ask_for_body() {
    if (!expects_continue_) return;
    expects_continue_ = false;
    send_all(descriptor(), "HTTP/1.1 100 Continue\r\n\r\n");
  }
  // HTTPServerSession's own overload stays reachable for its streams.
  using Poco::Net::HTTPServerSession::read;

  bool expects_continue_ = false;
};

namespace {

// False: the client stopped sending.
bool skip_rest(Body& body) {
  std::array<char, 8192> piece{};
  try {
    while (body.read(piece.data(), piece.size()) > 0) continue;
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// Closing with unread bytes resets the connection, and the reset may overtake the answer.
void linger(int socket) {
  ::shutdown(socket, SHUT_WR);
  timeval timeout{0, 200'000};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  std::array<char, 16 * 1024> piece{};
  for (int i = 0; i < kLingerReadsMax; ++i) {
    if (::recv(socket, piece.data(), piece.size(), 0) <= 0) return;
  }
}

}  // namespace

std::string render_answer(const Answer& answer, bool is_head, bool keep_alive) {
  std::string text;
  text.reserve(answer.body.size() + 1024);
  text += "HTTP/1.1 " + std::to_string(answer.status) + ' ';
  text += reason_phrase(answer.status);
  text += "\r\nDate: ";
  text += Poco::DateTimeFormatter::format(Poco::Timestamp(), Poco::DateTimeFormat::HTTP_FORMAT);
  const bool is_upgrade = answer.status == 101;
  text += is_upgrade   ? "\r\nConnection: Upgrade"
          : keep_alive ? "\r\nConnection: keep-alive"
                       : "\r\nConnection: close";
  if (!is_upgrade && answer.status != 204) {
    text += "\r\nContent-Type: " + answer.content_type;
    text += "\r\nContent-Length: " + std::to_string(answer.body.size());
  }
  for (const auto& [name, value] : answer.headers) {
    text += "\r\n" + name + ": ";
    for (const char character : value) {  // nothing may end the field early
      if (static_cast<unsigned char>(character) >= ' ' && character != 0x7F) text += character;
    }
  }
  text += "\r\n\r\n";
  if (!is_head && !is_upgrade && answer.status != 204) text += answer.body;
  return text;
}

Connection::Connection(const Poco::Net::StreamSocket& socket, Server& server,
                       Poco::Net::HTTPServerParams::Ptr parameters)
    : TCPServerConnection(socket), server_(server), parameters_(std::move(parameters)) {}

void Connection::run() {
  Session session(socket(), parameters_);
  const int descriptor = session.descriptor();
  Next next = Next::request;
  try {
    Watchdog::Watch watch(server_.watchdog(), descriptor);
    while (next == Next::request && !server_.is_draining() && session.hasMoreRequests()) {
      watch.limit(server_.options().header_timeout_ms);
      Answer refusal;
      try {
        next = serve_one(session, watch);
      } catch (const Poco::Net::NoMessageException&) {
        if (!watch.has_fired()) break;
        refusal = error_answer(408, "timeout", "the head of the request did not arrive in time");
      } catch (const Poco::TimeoutException&) {
        refusal = error_answer(408, "timeout", "the head of the request did not arrive in time");
      } catch (const Poco::Net::NetException&) {
        // Broken heads (MessageException) are net exceptions as well as lost connections are.
        const bool is_late = watch.has_fired();
        refusal = is_late ? error_answer(408, "timeout", "the request did not arrive in time")
                          : error_answer(400, "invalid", "the head of the request is not readable");
      } catch (const Poco::Exception&) {  // numbers in fields
        refusal = error_answer(400, "invalid", "the head of the request is not readable");
      }
      if (refusal.body.empty()) continue;
      next = Next::close_gently;
      server_.callbacks().count_unreadable(refusal.status);
      send_all(descriptor, render_answer(refusal, false, false));
    }
    if (next == Next::close_gently) {
      watch.limit(kLingerMs);
      linger(descriptor);
    }
  } catch (const std::exception&) {
    // The client has gone; there is nobody to tell.
  }
}

Connection::Next Connection::serve_one(Session& session, Watchdog::Watch& watch) {
  Poco::Net::HTTPServerResponseImpl unused(session);
  const Poco::Net::HTTPServerRequestImpl request(unused, session, parameters_.get());
  // The watchdog ends the reading side, and the parser takes the end for that of the head.
  if (watch.has_fired()) throw Poco::TimeoutException("head");
  watch.limit(server_.options().request_timeout_ms);
  const Framing framing =
      framing_of(joined(request, "Content-Length"), joined(request, "Transfer-Encoding"));
  FixedBody fixed(session, framing.length);
  ChunkedBody chunked(session);
  Body& body = framing.is_chunked ? static_cast<Body&>(chunked) : fixed;
  session.expect_continue(!body.at_end() && request.getExpectContinue());

  Answer answer;
  if (!framing.error.empty()) {
    answer = error_answer(400, "invalid", framing.error);
    answer.must_close = true;
    server_.callbacks().count_unreadable(400);
  } else {
    answer = server_.callbacks().answer(request, body);
  }
  watch.limit(server_.options().request_timeout_ms);  // for the sending
  if (answer.status == 101) {
    send_all(session.descriptor(), render_answer(answer, false, true));
    Poco::Buffer<char> received(0);
    session.drainBuffer(received);
    server_.callbacks().upgrade(::dup(session.descriptor()),
                                std::string(received.begin(), received.size()),
                                std::move(answer.topics));
    return Next::close;
  }
  // What is left of a body of known, small size is read away behind the answer.
  const bool can_skip = body.at_end() || (!framing.is_chunked && framing.length <= kSkipMax &&
                                          !session.is_waiting_for_continue());
  const bool keep_alive = can_skip && !answer.must_close && !watch.has_fired() &&
                          request.getKeepAlive() && !server_.is_draining() && !server_.is_crowded();
  send_all(session.descriptor(), render_answer(answer, request.getMethod() == "HEAD", keep_alive));
  if (!keep_alive) return body.at_end() ? Next::close : Next::close_gently;
  if (!skip_rest(body)) return Next::close_gently;
  session.setKeepAlive(true);
  watch.idle();
  return Next::request;
}

}  // namespace ephor::http_api
