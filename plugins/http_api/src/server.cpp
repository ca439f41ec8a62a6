// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <Poco/Net/NetException.h>
#include <Poco/Net/TCPServerConnectionFactory.h>

#include <ephor/plugin.hpp>
#include <utility>

#include "connection.hpp"

namespace ephor::http_api {
namespace {

constexpr int kStackBytes = 512 * 1024;
constexpr int kBacklog = 1024;
constexpr int kThreadIdleSeconds = 60;

class ConnectionFactory final : public Poco::Net::TCPServerConnectionFactory {
 public:
  ConnectionFactory(Server& server, Poco::Net::HTTPServerParams::Ptr parameters)
      : server_(server), parameters_(std::move(parameters)) {}
  Poco::Net::TCPServerConnection* createConnection(const Poco::Net::StreamSocket& socket) override {
    return new Connection(socket, server_, parameters_);  // the dispatcher owns it
  }

 private:
  Server& server_;
  Poco::Net::HTTPServerParams::Ptr parameters_;
};

Poco::Net::HTTPServerParams::Ptr parameters_from(const Options& options) {
  Poco::Net::HTTPServerParams::Ptr parameters = new Poco::Net::HTTPServerParams;
  parameters->setMaxThreads(options.threads);
  parameters->setMaxQueued(options.max_connections - options.threads + 1);
  parameters->setKeepAlive(true);
  parameters->setKeepAliveTimeout(Poco::Timespan(options.keep_alive_timeout_s, 0));
  parameters->setTimeout(Poco::Timespan(options.request_timeout_ms * 1000LL));
  parameters->setThreadIdleTime(Poco::Timespan(kThreadIdleSeconds, 0));
  return parameters;
}

// Without SO_REUSEPORT, which Poco sets by default: two hosts must not share a port in silence.
Poco::Net::ServerSocket bound_socket(const std::string& listen, bool& is_loopback) {
  try {
    const Poco::Net::SocketAddress address(listen);
    is_loopback = address.host().isLoopback();
    Poco::Net::ServerSocket socket;
    socket.bind(address, true, false);
    socket.listen(kBacklog);
    return socket;
  } catch (const Poco::Exception& failure) {
    throw Error(EPHOR_IO, "listen: cannot listen on \"" + listen + "\": " + failure.displayText(),
                "/listen");
  }
}

}  // namespace

Server::Server(const Options& options, Callbacks callbacks)
    : options_(options),
      callbacks_(std::move(callbacks)),
      parameters_(parameters_from(options)),
      socket_(bound_socket(options.listen, is_loopback_)),
      watchdog_([this] { return is_crowded(); }),
      pool_("http_api", 2, options.threads + 2, kThreadIdleSeconds, kStackBytes) {
  if (!is_loopback_ && options.tokens.empty()) {
    throw Error(EPHOR_INVALID,
                "listen: found \"" + options.listen +
                    "\" and no tokens; everybody on the network could read and write. Expected a "
                    "loopback address such as 127.0.0.1:8780, or at least one entry in tokens",
                "/listen");
  }
}

Server::~Server() { stop(); }

std::string Server::url() const { return "http://" + socket_.address().toString() + "/"; }

void Server::start() {
  server_ = std::make_unique<Poco::Net::TCPServer>(new ConnectionFactory(*this, parameters_), pool_,
                                                   socket_, parameters_);
  server_->start();
  is_serving_.store(true, std::memory_order_release);
}

void Server::drain() {
  if (is_draining_.exchange(true)) return;
  if (server_ != nullptr) server_->stop();
  watchdog_.end_idle();
}

void Server::stop() {
  drain();
  if (std::exchange(is_stopped_, true)) return;
  watchdog_.end_all();
  pool_.joinAll();  // before the server goes: its connections ask it
  watchdog_.stop();
  server_.reset();
  pool_.stopAll();  // joinAll leaves idle threads, and stop leaves none
  socket_.close();
}

Server::Figures Server::figures() const {
  if (server_ == nullptr) return {};
  return {server_->currentConnections(), server_->queuedConnections(),
          server_->refusedConnections()};
}

}  // namespace ephor::http_api
