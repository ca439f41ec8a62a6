// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/TCPServerConnection.h>

#include <string>

#include "answer.hpp"
#include "watchdog.hpp"

namespace ephor::http_api {

class Server;
class Session;

// The requests of one connection, one after the other.
class Connection final : public Poco::Net::TCPServerConnection {
 public:
  Connection(const Poco::Net::StreamSocket& socket, Server& server,
             Poco::Net::HTTPServerParams::Ptr parameters);
  void run() override;

 private:
  enum class Next { request, close, close_gently };
  Next serve_one(Session& session, Watchdog::Watch& watch);

  Server& server_;
  Poco::Net::HTTPServerParams::Ptr parameters_;
};

// Status line, fields and body as they go over the wire.
std::string render_answer(const Answer& answer, bool is_head, bool keep_alive);

}  // namespace ephor::http_api
