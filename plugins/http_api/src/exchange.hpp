// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer over a connection: framing, limits of time, what is left of a body.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "answer.hpp"
#include "body.hpp"
#include "connection.hpp"
#include "doorman.hpp"
#include "head.hpp"

namespace Poco::Net {
class HTTPRequest;
}

namespace ephor::http_api {

struct ExchangeCallbacks {
  std::function<Answer(const Poco::Net::HTTPRequest&, Body&, Entrance)> answer;
  // To a request that nothing looked at; `request` is null where not even its head could be read.
  std::function<Answer(const Poco::Net::HTTPRequest* request, Entrance, const Refusal&)> refuse;
  // Owns the socket from here on. `received`: bytes that came after the handshake.
  std::function<void(int socket, std::string received, std::vector<std::string> topics)> upgrade;
  std::function<bool()> is_draining;
};

// [worker] The request whose head is at the start of what `connection` received. Never throws.
// `before_upgrade`: called before the socket goes on as a WebSocket.
Next exchange(Connection& connection, const HeadLimits& limits, int timeout_ms,
              const ExchangeCallbacks& callbacks,
              const std::function<void(Connection&)>& before_upgrade);

// Status line, fields and body as they go over the wire.
std::string render_answer(const Answer& answer, bool is_head, bool keep_alive);

}  // namespace ephor::http_api
