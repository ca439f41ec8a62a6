// SPDX-License-Identifier: Apache-2.0
//
// Poco's TCP server and HTTP session with an own loop per connection: it bounds the time of every
// step, hands bodies out without a copy, and answers broken requests like all others.
#pragma once

#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/ThreadPool.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "answer.hpp"
#include "body.hpp"
#include "options.hpp"
#include "watchdog.hpp"

namespace Poco::Net {
class HTTPRequest;
}

namespace ephor::http_api {

class Server {
 public:
  struct Callbacks {
    std::function<Answer(const Poco::Net::HTTPRequest&, Body&)> answer;
    std::function<void(int status)> count_unreadable;
    // Owns the socket from here on. `received`: bytes that came after the handshake.
    std::function<void(int socket, std::string received, std::vector<std::string> topics)> upgrade;
  };

  // Binds; throws ephor::Error if it cannot.
  Server(const Options& options, Callbacks callbacks);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  bool is_loopback() const { return is_loopback_; }
  std::string url() const;  // "http://127.0.0.1:8780/"

  void start();
  // Takes no new connection; what is being answered goes on.
  void drain();
  // Ends everything and joins. Twice is fine.
  void stop();

  struct Figures {
    int connections = 0;
    int queued = 0;
    int refused = 0;  // closed unanswered because too many waited
  };
  Figures figures() const;

  // Of the connections.
  const Options& options() const { return options_; }
  const Callbacks& callbacks() const { return callbacks_; }
  Watchdog& watchdog() { return watchdog_; }
  bool is_draining() const { return is_draining_.load(std::memory_order_relaxed); }
  // Connections wait and every thread is taken: those that are served give theirs back after each
  // answer.
  bool is_crowded() const {
    return is_serving_.load(std::memory_order_acquire) && server_->queuedConnections() > 0 &&
           server_->currentConnections() >= options_.threads;
  }

 private:
  const Options& options_;
  const Callbacks callbacks_;
  Poco::Net::HTTPServerParams::Ptr parameters_;
  bool is_loopback_ = false;  // before socket_, whose making sets it
  Poco::Net::ServerSocket socket_;
  std::atomic<bool> is_serving_{false};
  std::atomic<bool> is_draining_{false};
  bool is_stopped_ = false;
  Watchdog watchdog_;
  Poco::ThreadPool pool_;
  std::unique_ptr<Poco::Net::TCPServer> server_;
};

}  // namespace ephor::http_api
