// SPDX-License-Identifier: Apache-2.0
#include "exchange.hpp"

#include <Poco/DateTimeFormat.h>
#include <Poco/DateTimeFormatter.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Timestamp.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <exception>
#include <optional>

namespace ephor::http_api {
namespace {

// An unread rest up to this size is read away, so that the connection can go on.
constexpr std::uint64_t kSkipMax = 64 * 1024;

std::string joined(const Poco::Net::MessageHeader& header, const std::string& name) {
  std::string values;
  for (auto found = header.find(name);
       found != header.end() && Poco::icompare(found->first, name) == 0; ++found) {
    if (!values.empty()) values += ',';
    values += found->second;
  }
  return values;
}

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

// Made anew once a second and thread.
const std::string& date_now() {
  thread_local std::time_t second = 0;
  thread_local std::string text;
  if (const std::time_t now = std::time(nullptr); now != second) {
    second = now;
    text = Poco::DateTimeFormatter::format(Poco::Timestamp::fromEpochTime(now),
                                           Poco::DateTimeFormat::HTTP_FORMAT);
  }
  return text;
}

bool expects_continue(const Poco::Net::HTTPRequest& request) {
  const auto found = request.find("Expect");
  return found != request.end() && Poco::icompare(found->second, "100-continue") == 0;
}

Next exchange_or_throw(Connection& connection, const HeadLimits& limits, int timeout_ms,
                       const ExchangeCallbacks& callbacks,
                       const std::function<void(Connection&)>& before_upgrade) {
  Watchdog::Watch& watch = connection.watch();
  watch.limit(timeout_ms);
  Poco::Net::HTTPRequest request;
  const std::size_t head_size = connection.head_size();
  if (const auto refusal = read_head(connection.received().substr(0, head_size), limits, request)) {
    const bool is_readable = refusal->status != 400 && refusal->status != 505;
    connection.send(render_answer(
        callbacks.refuse(is_readable ? &request : nullptr, connection.entrance(), *refusal), false,
        false));
    watch.idle();
    return Next::linger;
  }
  connection.use(head_size);
  const Framing framing =
      framing_of(joined(request, "Content-Length"), joined(request, "Transfer-Encoding"));
  FixedBody fixed(connection, framing.length);
  ChunkedBody chunked(connection);
  Body& body = framing.is_chunked ? static_cast<Body&>(chunked) : fixed;
  connection.expect_continue(!body.at_end() && expects_continue(request));

  Answer answer;
  if (!framing.error.empty()) {
    answer = callbacks.refuse(&request, connection.entrance(), {400, "invalid", framing.error});
    answer.must_close = true;
  } else {
    answer = callbacks.answer(request, body, connection.entrance());
  }
  watch.limit(timeout_ms);  // for the sending
  if (answer.status == 101) {
    watch.end();  // from here on the hub says when the socket ends
    connection.send(render_answer(answer, false, true));
    before_upgrade(connection);
    callbacks.upgrade(::dup(connection.descriptor()), std::string(connection.received()),
                      std::move(answer.topics));
    return Next::close;
  }
  // What is left of a body of known, small size is read away behind the answer.
  const bool can_skip = body.at_end() || (!framing.is_chunked && framing.length <= kSkipMax &&
                                          !connection.is_waiting_for_continue());
  const bool keep_alive = can_skip && !answer.must_close && !watch.has_fired() &&
                          request.getKeepAlive() && !callbacks.is_draining();
  connection.send(render_answer(answer, request.getMethod() == "HEAD", keep_alive));
  const bool is_whole = body.at_end() || (keep_alive && skip_rest(body));
  connection.expect_continue(false);
  watch.idle();
  if (!is_whole) return Next::linger;
  return keep_alive && !watch.has_fired() ? Next::wait : Next::close;
}

}  // namespace

std::string render_answer(const Answer& answer, bool is_head, bool keep_alive) {
  const bool is_upgrade = answer.status == 101;
  std::string text;
  text.reserve(answer.body.size() + 1024);
  text += "HTTP/1.1 ";
  text += std::to_string(answer.status);
  text += ' ';
  text += reason_phrase(answer.status);
  text += "\r\nDate: ";
  text += date_now();
  text += is_upgrade   ? "\r\nConnection: Upgrade"
          : keep_alive ? "\r\nConnection: keep-alive"
                       : "\r\nConnection: close";
  if (!is_upgrade && answer.status != 204) {
    text += "\r\nContent-Type: ";
    text += answer.content_type;
    text += "\r\nContent-Length: ";
    text += std::to_string(answer.body.size());
  }
  for (const auto& [name, value] : answer.headers) {
    text += "\r\n";
    text += name;
    text += ": ";
    for (const char character : value) {  // nothing may end the field early
      if (static_cast<unsigned char>(character) >= ' ' && character != 0x7F) text += character;
    }
  }
  text += "\r\n\r\n";
  if (!is_head && !is_upgrade && answer.status != 204) text += answer.body;
  return text;
}

Next exchange(Connection& connection, const HeadLimits& limits, int timeout_ms,
              const ExchangeCallbacks& callbacks,
              const std::function<void(Connection&)>& before_upgrade) {
  try {
    return exchange_or_throw(connection, limits, timeout_ms, callbacks, before_upgrade);
  } catch (const std::exception&) {
    // The client has gone; there is nobody to tell.
    return Next::close;
  }
}

}  // namespace ephor::http_api
