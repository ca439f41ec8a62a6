// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/ServerSocket.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ephor/plugin.hpp>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr int kBacklog = 1024;
// For the journal, the databases and what plugins open.
constexpr rlim_t kOtherDescriptors = 512;

HeadLimits head_limits(const Options& options) {
  return {static_cast<std::size_t>(options.max_header_bytes),
          static_cast<std::size_t>(options.max_uri_bytes),
          static_cast<std::size_t>(options.max_header_fields)};
}

// Each connection is a descriptor, and a process is often started with 1024 of them.
void allow_descriptors(int connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = static_cast<rlim_t>(connections) + kOtherDescriptors;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

// Without SO_REUSEPORT, which Poco sets by default: two hosts must not share a port in silence.
Server::Bound Server::bound(const std::string& listen, std::string_view key, Entrance entrance) {
  try {
    const Poco::Net::SocketAddress address(listen);
    Poco::Net::ServerSocket socket;
    socket.bind(address, true, false);
    socket.listen(kBacklog);
    // Poco closes its own descriptor; the doorman has this one.
    const int descriptor = ::fcntl(socket.impl()->sockfd(), F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0) throw Poco::Net::NetException("dup", errno);
    ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    return {{descriptor, entrance},
            address.host().isLoopback(),
            "http://" + socket.address().toString() + "/"};
  } catch (const Poco::Exception& failure) {
    throw Error(
        EPHOR_IO,
        std::string(key) + ": cannot listen on \"" + listen + "\": " + failure.displayText(),
        "/" + std::string(key));
  }
}

void Server::require_tokens(const Bound& one, std::string_view key, bool has_tokens) const {
  if (one.is_loopback || has_tokens) return;
  const std::string& listen =
      one.listener.entrance == Entrance::main ? options_.listen : options_.ingest_listen;
  ::close(one.listener.socket);
  throw Error(EPHOR_INVALID,
              std::string(key) + ": found \"" + listen +
                  "\" and no tokens; everybody on the network could read and write. Expected a "
                  "loopback address such as 127.0.0.1:8780, or at least one entry in tokens" +
                  (one.listener.entrance == Entrance::main ? "" : " with the scope write"),
              "/" + std::string(key));
}

Server::Server(const Options& options, Callbacks callbacks)
    : options_(options),
      limits_(head_limits(options)),
      callbacks_{std::move(callbacks.answer), std::move(callbacks.refuse),
                 std::move(callbacks.upgrade),
                 [this] { return is_draining_.load(std::memory_order_relaxed); }} {
  const Bound main = bound(options.listen, "listen", Entrance::main);
  require_tokens(main, "listen", !options.tokens.empty());
  is_loopback_ = main.is_loopback;
  url_ = main.url;
  std::vector<Doorman::Listener> listeners{main.listener};
  try {
    if (!options.ingest_listen.empty()) {
      const Bound ingest = bound(options.ingest_listen, "ingest_listen", Entrance::ingest);
      require_tokens(ingest, "ingest_listen", has_writer(options));
      is_ingest_loopback_ = ingest.is_loopback;
      ingest_url_ = ingest.url;
      listeners.push_back(ingest.listener);
    }
    doorman_ = std::make_unique<Doorman>(
        listeners,
        Doorman::Limits{limits_, options.header_timeout_ms, options.keep_alive_timeout_s * 1000,
                        options.max_connections},
        watchdog_,
        Doorman::Callbacks{
            [this](Connection& connection, Lane lane) { return pool_of(lane).push(connection); },
            [this](Connection& connection, const Refusal& refusal) {
              return refuse(connection, refusal);
            },
            [this](std::int64_t now_ns) {
              const bool has_reads = reads_->tend(now_ns);
              return ingest_->tend(now_ns) || has_reads;
            }});
  } catch (...) {
    if (doorman_ == nullptr) ::close(main.listener.socket);
    throw;
  }
  allow_descriptors(options.max_connections);
}

Server::~Server() { stop(); }

bool Server::is_loopback(Entrance entrance) const {
  return entrance == Entrance::main ? is_loopback_ : is_ingest_loopback_;
}

void Server::start() {
  reads_ = std::make_unique<WorkerPool>(
      options_.threads, options_.request_queue,
      [this](Connection& connection) { serve(connection, Lane::reads); });
  // A thread each for the bodies that are taken in, that wait for it and that are still arriving.
  ingest_ = std::make_unique<WorkerPool>(
      options_.ingest_threads + options_.ingest_queue + options_.ingest_receivers,
      options_.ingest_queue, [this](Connection& connection) { serve(connection, Lane::ingest); });
  doorman_->start();
}

void Server::serve(Connection& connection, Lane lane) {
  WorkerPool& pool = pool_of(lane);
  const auto forget = [this](Connection& one) { doorman_->forget(one); };
  for (;;) {
    const Next next =
        exchange(connection, limits_, options_.request_timeout_ms, callbacks_, forget);
    if (next != Next::wait) return doorman_->take_back(connection, next);
    // What waits goes first; then a further request of the same client can be answered here.
    const std::size_t size = connection.head_size();
    if (size == 0 || is_draining_.load(std::memory_order_relaxed) || pool.has_queue() ||
        (connection.entrance() == Entrance::main &&
         lane_of(connection.received().substr(0, size)) != lane)) {
      break;
    }
  }
  doorman_->take_back(connection, Next::wait);
}

// On the doorman's thread, for requests that no worker will see.
std::string Server::refuse(Connection& connection, const Refusal& refusal) {
  try {
    Poco::Net::HTTPRequest request;
    const std::size_t size = connection.head_size();
    const bool is_readable =
        size > 0 && !read_head(connection.received().substr(0, size), limits_, request);
    return render_answer(
        callbacks_.refuse(is_readable ? &request : nullptr, connection.entrance(), refusal), false,
        false);
  } catch (const std::exception&) {
    return {};
  }
}

void Server::drain() {
  if (is_draining_.exchange(true)) return;
  doorman_->drain();
}

void Server::stop() {
  drain();
  if (std::exchange(is_stopped_, true)) return;
  watchdog_.end_all();
  for (WorkerPool* pool : {reads_.get(), ingest_.get()}) {
    if (pool == nullptr) continue;
    for (Connection* connection : pool->stop()) doorman_->take_back(*connection, Next::close);
  }
  doorman_->stop();
  watchdog_.stop();
}

Server::Figures Server::figures() {
  if (reads_ == nullptr || ingest_ == nullptr) return {};
  return {doorman_->figures(), reads_->figures(), ingest_->figures()};
}

}  // namespace ephor::http_api
